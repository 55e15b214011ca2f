//! Workload of nodes: drained before a node goes down, and restored afterwards.

pub mod instances;
pub mod pods;

use std::sync::Arc;

use machinist_model::{Cluster, Orchestrator};
use machinist_rollout::{deploy::Workload, step::Connector};

use self::{instances::Instances, pods::Pods};
use crate::context::Context;

/// Returns the drain that runs before a reboot, if the cluster has a drainable workload.
#[must_use]
pub fn workload(context: &Context, cluster: &Cluster, connector: &Connector) -> Option<Arc<dyn Workload>> {
    match cluster.orchestrator? {
        Orchestrator::Kubernetes => Some(Arc::new(Pods::new(context, cluster, connector))),
        Orchestrator::Mesh => Some(Arc::new(Instances::new(cluster, connector))),
        Orchestrator::K3s => None,
    }
}
