//! Labels and taints of nodes. A kubelet may not assign itself a role: the API server's NodeRestriction rejects that,
//! and a kubelet sets its taints only at registration.

use std::collections::BTreeMap;

use machinist_model::{Cluster, Node, NodeName, Role};

use crate::object::LABEL;

/// The prefix of roles that `kubectl get nodes` shows.
const ROLE: &str = "node-role.kubernetes.io/";
/// The label and the taint of control planes.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The label by which Kubernetes itself spreads pods and routes traffic.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The annotation that lists machinist's taints, so that one removed from machines.nix is also removed from the node.
pub const TAINTS: &str = "machinist.dev/taints";

/// The taint that NixOS sets on a node without `roles` unless disabled, which machinist's modules once did not do. Only
/// static pods run on such a node. A cordon is another taint: `node.kubernetes.io/unschedulable`, without a value.
pub const NIXOS_UNSCHEDULABLE: &str = "unschedulable=true:NoSchedule";

/// Labels and taints of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMarks {
    /// Name of the node.
    pub name: NodeName,
    /// Labels, including machinist's own.
    pub labels: BTreeMap<String, String>,
    /// Taints, `key=value:Effect` or `key:Effect`.
    pub taints: Vec<String>,
}

/// Labels of machines.nix, the node's roles, and its zone under Kubernetes' label.
pub fn marks(cluster: &Cluster, node: &Node) -> NodeMarks {
    let mut labels = BTreeMap::new();
    if let Some(zone) = node.labels.get("zone") {
        labels.insert(ZONE.to_owned(), zone.clone());
    }
    labels.extend(node.labels.clone());
    for role in [Role::ControlPlane, Role::Etcd, Role::Ingress, Role::Worker] {
        if node.roles.contains(&role) {
            labels.insert(format!("{ROLE}{role}"), String::new());
        }
    }
    labels.insert(LABEL.to_owned(), cluster.name.clone());
    NodeMarks { name: node.name.clone(), labels, taints: node.kubernetes_taints() }
}
