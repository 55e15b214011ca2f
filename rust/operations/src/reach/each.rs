//! The same work on many machines at once.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError};
use machinist_rollout::{Interrupt, step::Connector};
use serde::Serialize;

use crate::{
    connect,
    context::Context,
    event::Event,
    failure::{Failure, OrFail as _, words},
};

/// Handling of machines that do not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreachable {
    /// They count as failed; the other machines are worked on all the same.
    #[default]
    Fail,
    /// They are named, and do not count.
    Ignore,
}

/// Reason why a machine gave no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// True if there was no connection: nothing ran on the machine.
    pub unreachable: bool,
    /// Description, with its causes, without the node's name.
    pub why: String,
    /// Hint for a fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Missing {
    /// Returns the reason for an error after the connection was made.
    pub(super) fn failed(node: &NodeName, error: &RemoteError) -> Self {
        Self { unreachable: false, why: words(node, error), hint: error.hint() }
    }

    fn unreachable(node: &NodeName, error: &RemoteError) -> Self {
        Self { unreachable: true, ..Self::failed(node, error) }
    }

    /// Returns the reason for an error in its own words.
    pub(super) fn because(why: impl Into<String>) -> Self {
        Self { unreachable: false, why: why.into(), hint: None }
    }

    /// Returns true if the machine counts as failed.
    #[must_use]
    pub fn counts(&self, unreachable: Unreachable) -> bool {
        !self.unreachable || unreachable == Unreachable::Fail
    }
}

/// Results of the nodes, sorted by name.
pub(super) type Results<T> = BTreeMap<NodeName, Result<T, Missing>>;

/// Machines that a command reaches.
pub(super) struct Machines {
    /// Their names, sorted.
    pub nodes: Vec<NodeName>,
    connector: Connector,
    interrupt: Interrupt,
}

impl Machines {
    /// Selects the machines, all of them without targets.
    ///
    /// # Errors
    /// The cluster's files are invalid, or a target matches no machine.
    pub fn select(context: &Context, targets: &[String]) -> Result<Self, Failure> {
        let cluster = context.project.load()?.cluster;
        let nodes = connect::select(&cluster, (!targets.is_empty()).then_some(targets))?;
        let connector = connect::connector_to(&nodes, context, &cluster, None)?;
        context.events.send(Event::Reaching { nodes: nodes.clone() });
        Ok(Self { nodes, connector, interrupt: context.interrupt.clone() })
    }

    /// Connects to all machines at once, and does the work on each that answers. After an interrupt no work begins.
    ///
    /// # Errors
    /// A thread cannot be started. The failure of a node is part of the results.
    pub fn each<T: Send + 'static>(
        &self,
        work: impl Fn(&NodeName, &Arc<dyn Remote>) -> Result<T, Missing> + Send + Sync + 'static,
    ) -> Result<Results<T>, Failure> {
        let threads = self.nodes.len().max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread().max_blocking_threads(threads).enable_all().build();
        let runtime = runtime.failed()?;
        let work = Arc::new(work);
        Ok(runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for node in self.nodes.iter().cloned() {
                let (connector, work, interrupt) = (self.connector.clone(), Arc::clone(&work), self.interrupt.clone());
                tasks.spawn_blocking(move || {
                    let remote = connector.connect(&node).map_err(|error| Missing::unreachable(&node, &error));
                    let result = remote.and_then(|remote| {
                        if interrupt.is_set() {
                            return Err(Missing::because("interrupted before it began"));
                        }
                        work(&node, &Arc::from(remote))
                    });
                    (node, result)
                });
            }
            tasks.join_all().await.into_iter().collect()
        }))
    }
}
