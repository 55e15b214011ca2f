//! Stage of a rehearsal: the same cluster on machines of this computer, with an operator of its own.

use std::path::PathBuf;

use machinist_model::{Cluster, Operator, Provider};

/// Place of a cluster's machines when they are rehearsal machines.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Additional operator, whose keys exist only for the rehearsal: it logs in to the machines, and the private keys in
    /// `certs/` are encrypted to it, too.
    pub operator: Operator,
    /// State directory of the machines' sandbox.
    pub sandbox: PathBuf,
}

impl Stage {
    /// Moves the cluster to the stage: its machines are machines of the sandbox at their own addresses in the node
    /// network, where root logs in. Their link carries these addresses, so there is no control mesh.
    pub fn set(&self, cluster: &mut Cluster) {
        cluster.network.control = None;
        for node in cluster.nodes.values_mut() {
            node.provider = Provider::Sandbox;
            node.disk = None;
            node.disk_layout = None;
            node.ssh.host = node.ip.to_string();
            node.ssh.user = None;
        }
        cluster.operators.retain(|operator| operator.name != self.operator.name);
        cluster.operators.push(self.operator.clone());
        cluster.operators.sort_by(|one, other| one.name.cmp(&other.name));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{Operator, Provider, fixtures};

    use super::Stage;

    #[test]
    fn every_machine_is_one_of_this_computer_and_the_own_operator_logs_in() {
        let mut cluster = fixtures::three_member_etcd();
        let before = cluster.operators.len();
        for node in cluster.nodes.values_mut() {
            node.provider = Provider::Hetzner;
            node.ssh.host = "gateway.example.org".to_owned();
            node.ssh.user = Some("deploy".to_owned());
            node.disk = Some("/dev/sda".to_owned());
        }
        let operator = Operator { name: "rehearsal".to_owned(), ssh: None, age: Some("age1x".to_owned()) };
        let stage = Stage { operator: operator.clone(), sandbox: "/s".into() };
        stage.set(&mut cluster);
        stage.set(&mut cluster);
        assert_eq!(cluster.operators.len(), before + 1);
        assert!(cluster.operators.contains(&operator));
        for node in cluster.nodes.values() {
            assert_eq!(node.provider, Provider::Sandbox);
            assert_eq!((node.ssh.host.as_str(), node.ssh.user.as_deref()), (node.ip.to_string().as_str(), None));
            assert_eq!(node.disk, None);
        }
    }
}
