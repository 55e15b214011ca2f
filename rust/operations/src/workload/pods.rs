//! Drain and uncordon of a node's pods.

use std::{path::PathBuf, time::Duration};

use machinist_kubernetes::drain::{Allowed, DrainError, Unmanaged};
use machinist_model::{Cluster, NodeName};
use machinist_rollout::{deploy::Workload, step::Connector};
use tokio::time::Instant;

use crate::{
    context::Context,
    failure::{Failure, Kind},
    keyring::Keyring,
    kubernetes::server::Reach,
};

/// Time limit for a node to become ready after a reboot.
const READY: Duration = Duration::from_secs(180);
/// Time limit for the pods of a node to terminate before a reboot.
const REBOOT: Duration = Duration::from_secs(600);

/// Drains pods through the Kubernetes API.
pub struct Pods {
    certs: PathBuf,
    cluster: Cluster,
    connector: Connector,
    keyring: Keyring,
}

impl Pods {
    /// Creates a drain through the cluster's API servers.
    #[must_use]
    pub fn new(context: &Context, cluster: &Cluster, connector: &Connector) -> Self {
        let certs = context.project.certs();
        let keyring = context.keyring.clone();
        Self { certs, cluster: cluster.clone(), connector: connector.clone(), keyring }
    }

    fn reach(&self) -> Reach<'_> {
        Reach { certs: self.certs.clone(), cluster: &self.cluster, connector: &self.connector, keyring: &self.keyring }
    }

    /// Cordons the node and evicts its pods. Returns the number of evicted pods.
    ///
    /// # Errors
    /// A pod remains or its data would be lost, or the API servers do not answer.
    pub fn drain(
        &self,
        node: &NodeName,
        allowed: Allowed,
        bound: Duration,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<usize, Failure> {
        self.reach().with_server(|server| async move {
            let ours = server.cordon(node).await.map_err(|error| failure(node, &error.into()))?;
            let drained = server.evict_all(node, allowed, Instant::now() + bound, tell).await;
            // No pod was evicted, so the node can resume its work.
            if ours && matches!(drained, Err(DrainError::Loses(_))) {
                server.uncordon(node, true).await.map_err(|error| failure(node, &error.into()))?;
            }
            drained.map_err(|error| failure(node, &error))
        })
    }

    /// Uncordons the node; with `only_ours` only if it was drained by [`Self::drain`].
    ///
    /// # Errors
    /// The API servers do not answer.
    pub fn uncordon(&self, node: &NodeName, only_ours: bool) -> Result<bool, Failure> {
        self.reach().with_server(|server| async move {
            server.uncordon(node, only_ours).await.map_err(|error| failure(node, &error.into()))
        })
    }

    /// Deletes the Node object of a machine that is gone. True if there was one.
    ///
    /// # Errors
    /// The API servers do not answer.
    pub fn forget(&self, node: &NodeName) -> Result<bool, Failure> {
        self.reach().with_server(|server| async move {
            server.delete_node(node).await.map_err(|error| failure(node, &error.into()))
        })
    }
}

impl Workload for Pods {
    fn leave(&self, node: &NodeName, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<(), String> {
        if !self.cluster.nodes.get(node).is_some_and(|node| self.cluster.runs_kubernetes(node)) {
            return Ok(());
        }
        // A pod without a controller is restarted by the kubelet after the reboot, with the data of its volumes.
        let allowed = Allowed { unmanaged: Unmanaged::Leave, local_data: true };
        let known = self.reach().with_server(|server| async move {
            server.has_node(node).await.map_err(|error| failure(node, &error.into()))
        });
        if !known.map_err(|failure| failure.in_one_line())? {
            return Ok(());
        }
        let left = self.drain(node, allowed, REBOOT, tell).map(drop);
        if left.is_err() {
            // The node is not rebooted, so it resumes its work.
            self.uncordon(node, true).map_err(|failure| failure.in_one_line())?;
        }
        left.map_err(|failure| failure.in_one_line())
    }

    fn come_back(&self, node: &NodeName) -> Result<(), String> {
        if !self.cluster.nodes.get(node).is_some_and(|node| self.cluster.runs_kubernetes(node)) {
            return Ok(());
        }
        let back = self.reach().with_server(|server| async move {
            if !server.has_node(node).await.map_err(|error| failure(node, &error.into()))? {
                return Ok(());
            }
            server.until_ready(node, Instant::now() + READY).await.map_err(|error| failure(node, &error))?;
            server.uncordon(node, true).await.map(drop).map_err(|error| failure(node, &error.into()))
        });
        back.map_err(|failure| failure.in_one_line())
    }
}

fn failure(node: &NodeName, error: &DrainError) -> Failure {
    Failure::on(node, Kind::Failed, error).maybe_hint(error.hint().map(str::to_owned))
}
