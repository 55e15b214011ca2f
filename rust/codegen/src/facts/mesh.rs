//! Facts of service mesh nodes, and of the overlay.

use machinist_model::{Cluster, Node, OverlayBackend, Role};

use crate::nix::{Attributes, RelativePath, Value, WriteError, set};

/// The file in `generated/` with each node's subnet of the overlay. Names of machines contain no underscore.
pub const OVERLAY_FILE: &str = "_overlay.nix";

/// Returns `machinist.mesh` of the node.
pub(super) fn facts(cluster: &Cluster, node: &Node) -> Attributes {
    let members = cluster.etcd_members().map(|member| member.ip.to_string());
    let mut facts = set([
        ("enable", true.into()),
        ("etcdMembers", members.collect()),
        ("groups", node.mesh_groups().into_iter().collect()),
    ]);
    let is_ingress = |node: &&Node| node.roles.contains(&Role::Ingress);
    if is_ingress(&node) {
        let others = cluster.nodes.values().filter(is_ingress).filter(|other| other.name != node.name);
        let peers = others.flat_map(Node::addresses).map(|ip| ip.to_string()).collect();
        facts.insert("ingress".to_owned(), set([("peers", peers)]).into());
    }
    facts
}

/// Returns `machinist.overlay` of the node, or `None` if it is not part of one.
pub(super) fn overlay(cluster: &Cluster, node: &Node) -> Result<Option<Attributes>, WriteError> {
    let (Some(range), Some(overlay), Some(part)) =
        (cluster.mesh_overlay(), &cluster.network.overlay, cluster.overlay_part(node))
    else {
        return Ok(None);
    };
    let backend = match overlay.backend {
        OverlayBackend::Wireguard => "wireguard",
        OverlayBackend::Vxlan => "vxlan",
        OverlayBackend::HostGw => "host-gw",
    };
    Ok(Some(set([
        ("address", part.address.to_string().into()),
        ("backend", backend.into()),
        ("network", range.to_string().into()),
        ("nodesFile", RelativePath::parse(&format!("./{OVERLAY_FILE}")).map(Value::Path)?),
        ("subnet", part.subnet.to_string().into()),
    ])))
}

/// Returns each node's subnet of the overlay, or `None` if there is none. One file for all nodes: otherwise a cluster's
/// facts would grow with the square of its nodes.
pub(super) fn overlay_nodes(cluster: &Cluster) -> Option<Attributes> {
    cluster.mesh_overlay()?;
    let part = |node: &Node| {
        let part = cluster.overlay_part(node)?;
        let facts = set([("ip", part.address.to_string().into()), ("subnet", part.subnet.to_string().into())]);
        Some((node.name.to_string(), facts.into()))
    };
    Some(cluster.mesh_nodes().filter_map(part).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_model::{NodeName, Orchestrator, RecordedState, fixtures};
    use serde_json::json;

    use super::facts;
    use crate::{
        facts::{Certificates, Shared},
        nix,
    };

    #[test]
    fn the_rate_of_clients_of_etcd_is_only_limited_in_a_mesh() {
        let state = RecordedState::default();
        let certificates = Certificates::default();
        let mut cluster = fixtures::three_member_etcd();
        let casper = NodeName::parse("casper").unwrap();
        for (orchestrator, is_limited) in [(None, false), (Some(Orchestrator::Mesh), true)] {
            cluster.orchestrator = orchestrator;
            let file = Shared::new(&cluster, &state, &certificates).file(&cluster.nodes[&casper]).unwrap();
            assert_eq!(file.contains("clientBytesPerSecond = 262144;"), is_limited, "{file}");
        }
    }

    #[test]
    fn a_member_that_moves_has_two_addresses_and_every_member_admits_both() {
        let mut cluster = fixtures::three_member_etcd();
        cluster.nodes.get_mut("casper").unwrap().second_ip = Some([10, 13, 13, 9].into());
        let (state, certificates) = (RecordedState::default(), Certificates::default());
        let shared = Shared::new(&cluster, &state, &certificates);
        for node in ["balthazar", "casper"] {
            let file = shared.file(&cluster.nodes[node]).unwrap();
            assert!(file.contains("moving = [ \"10.13.13.9\" ];"), "{file}");
            assert!(file.contains("casper = \"10.13.13.4\";"), "{file}");
            assert_eq!(file.contains("secondAddress = \"10.13.13.9\";"), node == "casper", "{file}");
        }
    }

    #[test]
    fn a_worker_that_moves_is_admitted_at_both_addresses() {
        let machine = |host: u8, role: &str| json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
        let mut cluster = fixtures::cluster(&json!({
            "cluster": { "name": "mesh", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
            "network": { "nodes": "10.13.13.0/24" },
            "machines": { "etcd1": machine(2, "etcd"), "w1": machine(5, "worker"), "edge1": machine(6, "ingress"), "edge2": machine(7, "ingress") },
        }));
        cluster.nodes.get_mut("w1").unwrap().second_ip = Some([10, 13, 13, 9].into());
        cluster.nodes.get_mut("edge2").unwrap().second_ip = Some([10, 13, 13, 8].into());
        let (state, certificates) = (RecordedState::default(), Certificates::default());
        let shared = Shared::new(&cluster, &state, &certificates);
        let file = |node: &str| shared.file(&cluster.nodes[node]).unwrap().replace("\n", " ");
        let clients = |file: &str| ["10.13.13.5", "10.13.13.9", "10.13.13.8"].iter().all(|ip| file.contains(ip));
        assert!(clients(&file("etcd1")), "{}", file("etcd1"));
        assert!(file("edge1").contains("\"10.13.13.8\""), "{}", file("edge1"));
    }

    #[test]
    fn an_ingress_knows_the_others() {
        let machine = |host: u8, role: &str| json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
        let cluster = fixtures::cluster(&json!({
            "cluster": { "name": "mesh", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
            "network": { "nodes": "10.13.13.0/24" },
            "machines": {
                "etcd1": machine(2, "etcd"),
                "edge1": machine(3, "ingress"),
                "edge2": machine(4, "ingress"),
                "w1": machine(5, "worker"),
            },
        }));
        let node = &cluster.nodes[&NodeName::parse("edge1").unwrap()];
        expect![[r#"
            {
              enable = true;
              etcdMembers = [ "10.13.13.2" ];
              groups = [ "frontends" ];
              ingress.peers = [ "10.13.13.4" ];
            }
        "#]]
        .assert_eq(&nix::file("", &facts(&cluster, node).into()).unwrap());
    }
}
