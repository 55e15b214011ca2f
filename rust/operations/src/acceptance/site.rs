//! Cluster under test: connections to its nodes, which all checks share.

use std::{
    collections::BTreeMap,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::etcd::Health;
use machinist_model::{Cluster, Node, NodeName};
use machinist_remote::Remote;
use machinist_rollout::{HostFacts, step::Connector};

use super::{Request, description::Description, report::Problem};
use crate::{
    connect,
    context::Context,
    failure::Failure,
    query::{self, Asked},
    run_id::run_id,
};

/// Interval of the looks of a check that waits.
const PAUSE: Duration = Duration::from_millis(200);

/// Cluster under test.
pub(super) struct Site<'a> {
    pub context: &'a Context,
    pub request: &'a Request,
    pub cluster: Cluster,
    /// Nodes to test, sorted.
    pub targets: Vec<NodeName>,
    /// Connections to the nodes that answered, with their facts, and errors of the others.
    pub asked: BTreeMap<NodeName, Asked>,
    /// Health of etcd, as reported by the first member that answers; None if none of the targets is a member that does.
    pub etcd: Option<Health>,
    /// Connector to the nodes.
    pub connector: Connector,
    /// Mark of this test in everything that it writes.
    pub mark: String,
    descriptions: OnceLock<BTreeMap<NodeName, Result<Description, String>>>,
}

impl<'a> Site<'a> {
    /// Connects to the targets.
    ///
    /// # Errors
    /// The cluster's files are invalid, or a target matches no machine.
    pub fn open(context: &'a Context, request: &'a Request) -> Result<Self, Failure> {
        let cluster = context.project.load()?.cluster;
        let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
        let targets = connect::select(&cluster, patterns)?;
        let connector = connect::connector_to(&targets, context, &cluster, None)?;
        context.events.progress(format!("connecting to {} nodes", targets.len()));
        let asked = query::nodes(&targets, &connector)?;
        let etcd = query::etcd(&cluster, &asked);
        let mark = run_id(context);
        Ok(Self { context, request, cluster, targets, asked, etcd, connector, mark, descriptions: OnceLock::new() })
    }

    /// Returns the nodes that answered.
    pub fn answering(&self) -> impl Iterator<Item = (&NodeName, &dyn Remote, &HostFacts)> {
        self.asked
            .iter()
            .filter_map(|(node, asked)| asked.as_ref().ok().map(|(remote, facts)| (node, &**remote, facts)))
    }

    /// Returns the connection to a node that answered.
    pub fn remote(&self, node: &NodeName) -> Option<&dyn Remote> {
        self.asked.get(node)?.as_ref().ok().map(|(remote, _)| &**remote)
    }

    /// Returns the targets for which the predicate holds.
    pub fn targets_that(&self, is: impl Fn(&Node) -> bool) -> Vec<NodeName> {
        let node = |name: &NodeName| self.cluster.nodes.get(name).is_some_and(&is);
        self.targets.iter().filter(|name| node(name)).cloned().collect()
    }

    /// Does the work on each of the nodes that answered, at once.
    pub fn each<'n, T: Send>(
        &self,
        nodes: impl IntoIterator<Item = &'n NodeName>,
        work: impl Fn(&NodeName, &dyn Remote) -> T + Sync,
    ) -> BTreeMap<NodeName, T> {
        let hosts = nodes.into_iter().filter_map(|node| Some((node, self.remote(node)?)));
        let hosts: Vec<(&NodeName, &dyn Remote)> = hosts.collect();
        let work = &work;
        thread::scope(|scope| {
            let begin = |(node, remote): (&NodeName, _)| {
                let name = node.clone();
                (node.clone(), scope.spawn(move || work(&name, remote)))
            };
            let threads: Vec<_> = hosts.into_iter().map(begin).collect();
            threads.into_iter().filter_map(|(node, thread)| Some((node, thread.join().ok()?))).collect()
        })
    }

    /// Returns what the nodes say of themselves; queried once.
    pub fn descriptions(&self) -> &BTreeMap<NodeName, Result<Description, String>> {
        self.descriptions.get_or_init(|| self.each(&self.targets, |node, remote| Description::of(node, remote)))
    }

    /// Returns the node's own description, if it could be read.
    pub fn description(&self, node: &NodeName) -> Option<&Description> {
        self.descriptions().get(node)?.as_ref().ok()
    }

    /// Returns the problems of those nodes whose description could not be read.
    pub fn undescribed<'n>(&self, nodes: impl IntoIterator<Item = &'n NodeName>) -> Vec<Problem> {
        let problem = |node: &NodeName| {
            let why = self.descriptions().get(node)?.as_ref().err()?;
            Some(Problem::on(node, why))
        };
        nodes.into_iter().filter_map(problem).collect()
    }

    /// Repeats the look until it returns true. False when the time is over or the operator interrupts.
    pub fn until(&self, bound: Duration, mut look: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + bound;
        loop {
            if look() {
                return true;
            }
            if Instant::now() >= deadline || self.context.interrupt.is_set() {
                return false;
            }
            thread::sleep(PAUSE);
        }
    }
}
