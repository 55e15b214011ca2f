//! What nodes work on: taken away before a node goes down, and back afterwards.

pub mod instances;
pub mod pods;

use std::sync::Arc;

use machinist_model::{Cluster, Orchestrator};
use machinist_rollout::{deploy::Workload, step::Connector};

use self::{instances::Instances, pods::Pods};
use crate::context::Context;

/// Returns what takes away what the nodes work on before a reboot, if anything does.
#[must_use]
pub fn workload(context: &Context, cluster: &Cluster, connector: &Connector) -> Option<Arc<dyn Workload>> {
    match cluster.orchestrator? {
        Orchestrator::Kubernetes => Some(Arc::new(Pods::new(context, cluster, connector))),
        Orchestrator::Mesh => Some(Arc::new(Instances::new(cluster, connector))),
        Orchestrator::K3s => None,
    }
}
