//! What a node of the service mesh is told.

use machinist_model::{Cluster, Node, Role};

use crate::nix::{Attributes, set};

/// Returns the facts of the mesh for the node.
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
        let peers = others.map(|other| other.ip.to_string()).collect();
        facts.insert("ingress".to_owned(), set([("peers", peers)]).into());
    }
    facts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_model::{NodeName, fixtures};
    use serde_json::json;

    use super::facts;
    use crate::nix;

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
