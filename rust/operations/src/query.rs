//! Concurrent queries to all nodes, and to etcd through one of them.

use std::collections::BTreeMap;

use machinist_etcd::etcd::Health;
use machinist_model::{Cluster, NodeName};
use machinist_remote::Remote;
use machinist_rollout::{
    HostFacts,
    step::{Connector, StepError, gate, gather},
};

use crate::{
    failure::{Failure, OrFail as _},
    rollout::target::voters,
};

/// A node that answered, or the error of one that did not.
pub type Asked = Result<(Box<dyn Remote>, HostFacts), StepError>;

/// Gathers the facts of all nodes concurrently.
///
/// # Errors
/// A thread cannot be started.
pub fn nodes(nodes: &[NodeName], connector: &Connector) -> Result<BTreeMap<NodeName, Asked>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().failed()?;
    Ok(runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for node in nodes.iter().cloned() {
            let connector = connector.clone();
            tasks.spawn_blocking(move || {
                let asked = connector.connect(&node).map_err(StepError::from).and_then(|remote| {
                    let facts = gather(&*remote)?;
                    Ok((remote, facts))
                });
                (node, asked)
            });
        }
        tasks.join_all().await.into_iter().collect()
    }))
}

/// Queries etcd through the first member that answers.
#[must_use]
pub fn etcd(cluster: &Cluster, asked: &BTreeMap<NodeName, Asked>) -> Option<Health> {
    let members = voters(cluster);
    let reachable = members.keys().filter_map(|member| asked.get(member)?.as_ref().ok());
    reachable.filter_map(|(remote, _)| gate::etcd(&**remote, &members).ok()).next()
}
