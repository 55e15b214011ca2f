//! Rows of the service mesh: etcd client certificates for the agent of each node, and for flannel if there is an
//! overlay.
//!
//! A CN is the program's user in etcd, and the cluster's roles grant it the node's own keys
//! (docs/internals/etcd-model.md). The prefix keeps a machine's name distinct from other users, such as `root`.

use machinist_model::{Cluster, Node};

use crate::{Authority, CertificateSpec, Holder, Table};

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    if cluster.etcd_members().next().is_none() {
        return;
    }
    let row = |leaf: &str, consumer: &str, node: &Node| CertificateSpec {
        common_name: format!("{leaf}-{}", node.name),
        consumer: consumer.to_owned(),
        ..super::leaf(Authority::Etcd, leaf, Holder::Node(node.name.clone()))
    };
    for node in cluster.mesh_nodes() {
        table.certificates.push(row("mesh-agent", "machinist-agent", node));
        if cluster.overlay_part(node).is_some() {
            table.certificates.push(row("mesh-flannel", "flannel", node));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{NodeName, Orchestrator, Role, fixtures};

    use crate::table;

    #[test]
    fn every_node_of_the_mesh_has_a_user_of_its_own_in_etcd() {
        let mut cluster = fixtures::three_member_etcd();
        let casper = NodeName::parse("casper").unwrap();
        cluster.nodes.get_mut(&casper).unwrap().roles = [Role::Worker].into();
        let agents = |cluster: &_| -> Vec<String> {
            let specs = table(cluster).certificates.into_iter().filter(|spec| spec.leaf == "mesh-agent");
            specs.map(|spec| format!("{} CN={} by {}", spec.name, spec.common_name, spec.authority)).collect()
        };
        assert!(agents(&cluster).is_empty(), "not a mesh");
        cluster.orchestrator = Some(Orchestrator::Mesh);
        assert_eq!(agents(&cluster), ["mesh-agent-casper CN=mesh-agent-casper by etcd"]);
    }

    #[test]
    fn an_overlay_gives_flannel_a_user_of_its_own() {
        let machine = |host: u8, role: &str| serde_json::json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
        let mut json = serde_json::json!({
            "cluster": { "name": "mesh", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
            "network": { "nodes": "10.13.13.0/24" },
            "machines": { "etcd1": machine(2, "etcd"), "w1": machine(3, "worker") },
        });
        let flannels = |json: &_| -> Vec<String> {
            let specs = table(&fixtures::cluster(json)).certificates.into_iter();
            specs.filter(|spec| spec.leaf == "mesh-flannel").map(|spec| spec.common_name).collect()
        };
        assert!(flannels(&json).is_empty(), "without an overlay");
        json["network"]["overlay"] = serde_json::json!({ "backend": "wireguard", "network": "10.10.0.0/16" });
        assert_eq!(flannels(&json), ["mesh-flannel-w1"], "etcd's members have no part in it");
    }
}
