//! Labels and taints of nodes. A kubelet may not give itself a role: the API server's NodeRestriction refuses that, and a kubelet
//! tells its taints only when it registers.

use std::collections::BTreeMap;

use machinist_model::{Cluster, Node, NodeName, Role};

use crate::object::LABEL;

/// The prefix of roles that `kubectl get nodes` shows.
const ROLE: &str = "node-role.kubernetes.io/";
/// The label and the taint of control planes.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The label by which Kubernetes itself spreads pods and routes traffic.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The annotation that says which taints are machinist's, so that one that goes from machines.nix goes from the node.
pub const TAINTS: &str = "machinist.dev/taints";

/// The taint that NixOS gives a node without `roles` unless it is switched off, as machinist's modules once did not. Nothing
/// runs on such a node but static pods. A cordon is another taint: `node.kubernetes.io/unschedulable`, without a value.
pub const NIXOS_UNSCHEDULABLE: &str = "unschedulable=true:NoSchedule";

/// What a node is marked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMarks {
    /// The node.
    pub name: NodeName,
    /// Labels, machinist's own mark among them.
    pub labels: BTreeMap<String, String>,
    /// Taints, `key=value:Effect` or `key:Effect`.
    pub taints: Vec<String>,
}

/// Labels of machines.nix, the node's roles, and its zone by the name that Kubernetes has for it.
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
