//! Drain and undrain of a node's instances in the service mesh.

use std::time::Duration;

use machinist_model::{Cluster, NodeName};
use machinist_rollout::{
    deploy::Workload,
    instances,
    step::{Connector, StepError},
};

use crate::failure::{Failure, Kind};

/// Time limit for connections to close before a reboot. An instance's own `drainSeconds` is at most an hour, and
/// usually seconds.
const REBOOT: Duration = Duration::from_secs(600);

/// Drains instances through the nodes' agents.
pub struct Instances {
    cluster: Cluster,
    connector: Connector,
}

impl Instances {
    /// Creates a drain through the agents of the cluster's nodes.
    #[must_use]
    pub fn new(cluster: &Cluster, connector: &Connector) -> Self {
        Self { cluster: cluster.clone(), connector: connector.clone() }
    }

    /// Takes the node's instances out of the mesh and waits until their connections are closed.
    ///
    /// # Errors
    /// The node or its agent does not answer, or etcd does not confirm.
    pub fn drain(&self, node: &NodeName, bound: Duration) -> Result<Vec<String>, Failure> {
        let done = self.connect(node).and_then(|remote| instances::leave(&*remote, bound));
        done.map_err(|error| failure(node, &error))
    }

    /// Puts the node's instances back into the mesh.
    ///
    /// # Errors
    /// The node or its agent does not answer.
    pub fn undrain(&self, node: &NodeName) -> Result<Vec<String>, Failure> {
        let done = self.connect(node).and_then(|remote| instances::come_back(&*remote));
        done.map_err(|error| failure(node, &error))
    }

    fn connect(&self, node: &NodeName) -> Result<Box<dyn machinist_remote::Remote>, StepError> {
        self.connector.connect(node).map_err(StepError::from)
    }
}

impl Workload for Instances {
    fn leave(&self, node: &NodeName, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<(), String> {
        if !self.cluster.nodes.get(node).is_some_and(|node| self.cluster.runs_mesh(node)) {
            return Ok(());
        }
        let out = self.drain(node, REBOOT).map_err(|failure| {
            // The node is not rebooted, so it resumes its work.
            let _ = self.undrain(node);
            failure.in_one_line()
        })?;
        if !out.is_empty() {
            tell(&format!("is out of the mesh with {}", out.join(", ")));
        }
        Ok(())
    }

    /// Does nothing: the agent lost the drain by the reboot, and an instance is back as soon as it is healthy.
    fn come_back(&self, _: &NodeName) -> Result<(), String> {
        Ok(())
    }
}

fn failure(node: &NodeName, error: &StepError) -> Failure {
    Failure::on(node, Kind::Failed, error)
        .hint(format!("on {node}, `curl 127.0.0.1:9470/status` says what its agent knows"))
}
