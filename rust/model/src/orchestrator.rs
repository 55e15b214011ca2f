//! Orchestrators of a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The orchestrator of the applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Orchestrator {
    /// Kubernetes with stacked or external etcd.
    Kubernetes,
    /// k3s on one machine or many.
    K3s,
    /// etcd, flannel, haproxy and podman.
    Mesh,
}
