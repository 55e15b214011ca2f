//! Kubernetes: API servers, objects, and the error for a cluster without Kubernetes.

pub mod objects;
pub mod outcome;
pub mod server;

use machinist_model::{Cluster, Orchestrator};

use crate::failure::{Failure, Kind};

/// Returns the failure for a cluster without kubeadm's Kubernetes. k3s has its own authorities, objects and
/// administrator: its hint is the equivalent command there, run on the given SSH destination of a server.
#[must_use]
pub fn missing(cluster: &Cluster, what: &str, with_k3s: impl FnOnce(&str) -> String) -> Failure {
    match cluster.voters().next() {
        Some(server) if cluster.orchestrator == Some(Orchestrator::K3s) => {
            let message = format!("{what}: the cluster runs k3s, which has this itself");
            let destination = format!("{}@{}", server.ssh.user_or_default(), server.ssh.host);
            Failure::new(Kind::Input, message).hint(with_k3s(&destination))
        }
        _ => {
            let message = format!("{what}: machines.nix describes no Kubernetes");
            Failure::new(Kind::Input, message).hint("write cluster.orchestrator = \"kubernetes\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use machinist_model::{Cluster, fixtures};

    use super::missing;

    #[test]
    fn with_k3s_the_hint_is_what_does_it_there() {
        let hint =
            |cluster: &Cluster| missing(cluster, "no objects", |server| format!("ssh {server} k3s kubectl")).hints;
        assert_eq!(hint(&fixtures::ha_k3s()), ["ssh root@10.13.13.2 k3s kubectl"]);
        assert_eq!(hint(&fixtures::three_member_etcd()), ["write cluster.orchestrator = \"kubernetes\""]);
    }
}
