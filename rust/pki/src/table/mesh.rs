//! The rows of the service mesh: a client certificate of etcd for the agent of each node.
//!
//! Its CN is the agent's user in etcd, to which the cluster's rules give the node's own keys (docs/etcd-model.md). The prefix
//! keeps a machine's name from being that of another user, such as `root`.

use machinist_model::Cluster;

use crate::{Authority, CertificateSpec, Holder, Table};

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    if cluster.etcd_members().next().is_none() {
        return;
    }
    let row = |node: &machinist_model::Node| CertificateSpec {
        common_name: format!("mesh-agent-{}", node.name),
        consumer: "machinist-agent".to_owned(),
        ..super::leaf(Authority::Etcd, "mesh-agent", Holder::Node(node.name.clone()))
    };
    table.certificates.extend(cluster.mesh_nodes().map(row));
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
        assert!(agents(&cluster).is_empty(), "there is no mesh");
        cluster.orchestrator = Some(Orchestrator::Mesh);
        assert_eq!(agents(&cluster), ["mesh-agent-casper CN=mesh-agent-casper by etcd"]);
    }
}
