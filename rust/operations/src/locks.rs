//! Locks of an operation: on the nodes that it changes, and on all voters if it may make one of them unavailable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use machinist_model::{Cluster, Node, NodeName, RecordedMachine, RecordedState};
use machinist_remote::Remote;
use machinist_rollout::{
    deploy::{Outcome, Report},
    identity::Known,
    lock::{Electorate, Keeper, Refusals, Scope, Token, claimant},
    step::{Connector, StepError},
};

use crate::{
    context::Context,
    event::Events,
    failure::{Failure, Kind},
    project::Project,
    rollout::target::voters,
};

/// Connections that are already open.
pub type Open = BTreeMap<NodeName, Arc<dyn Remote>>;

/// Locks of a command, held until it ends.
pub struct Locks {
    /// Acquires and renews the locks.
    pub keeper: Arc<Keeper>,
    events: Events,
}

impl Locks {
    /// Creates an empty set of locks. `run` is the ID under which they are acquired.
    #[must_use]
    pub fn new(context: &Context, run: String, connector: &Connector) -> Self {
        let claimant = claimant(run, context.who.clone());
        let interrupt = context.interrupt.clone();
        let keeper = Arc::new(Keeper::new(claimant, Connector::clone(connector), interrupt));
        Self { keeper, events: context.events.clone() }
    }

    /// Acquires the locks of the scope, all or none.
    ///
    /// # Errors
    /// Another run holds one of them, too few voters can be locked, or a node that changes does not answer.
    pub fn hold(&self, scope: &Scope, open: &Open) -> Result<(), Failure> {
        let note = |node: &NodeName, text: &str| self.events.note(node, text);
        self.keeper.acquire(scope, open, &note).map(drop).map_err(|refusals| failure(&refusals))
    }

    /// Returns the token that authorises the next change on the node.
    ///
    /// # Errors
    /// The node is not locked, or no longer by this command.
    pub fn token(&self, node: &NodeName) -> Result<Token, StepError> {
        self.keeper.token(node)
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        for node in self.keeper.release() {
            self.events.warn(format!("{node}: its lock could not be given back; it expires by itself"));
        }
    }
}

/// Combines all refusals into one failure.
fn failure(refusals: &Refusals) -> Failure {
    let only_refused = refusals.values().all(StepError::is_refusal);
    let kind = if only_refused { Kind::Refused } else { Kind::Failed };
    let mut reasons = Vec::new();
    for (node, error) in refusals {
        let text = Failure::from_error(kind, error).in_one_line();
        // A connection error already names the node.
        let text = if text.starts_with(&format!("{node}: ")) { text } else { format!("{node}: {text}") };
        reasons.push(text);
    }
    Failure::new(kind, reasons.join("; ")).maybe_hint(refusals.values().find_map(StepError::hint))
}

/// Returns the voters, as the lock protocol sees them.
#[must_use]
pub fn electorate(cluster: &Cluster, state: &RecordedState) -> Electorate {
    let recorded = &state.etcd.members;
    let can_be_reached = |node: &&NodeName| cluster.deployable().any(|other| other.name == **node);
    let all = voters(cluster).into_keys().chain(recorded.iter().filter(can_be_reached).cloned()).collect();
    let counted = if state.etcd.bootstrapped { recorded.clone() } else { BTreeSet::new() };
    Electorate { all, counted }
}

/// Returns the recorded identities of the machines. `accepts_new`: true if a new host key was accepted in this command.
#[must_use]
pub fn known(cluster: &Cluster, state: &RecordedState, accepts_new: bool) -> Known {
    let ids = state.machines.iter().map(|(node, machine)| (node.clone(), machine.machine_id.clone())).collect();
    Known { nodes: cluster.deployable().map(|node| node.name.clone()).collect(), ids, accepts_new }
}

/// Returns the scope of a command that may make any voter unavailable, and changes these nodes.
#[must_use]
pub fn of_voters(cluster: &Cluster, state: &RecordedState, nodes: impl IntoIterator<Item = NodeName>) -> Scope {
    let known = known(cluster, state, false);
    Scope { nodes: nodes.into_iter().collect(), voters: electorate(cluster, state), known }
}

/// Returns the scope of a command on one node that may be unreachable; no voter becomes unavailable.
#[must_use]
pub fn of_node(cluster: &Cluster, state: &RecordedState, node: &NodeName) -> Scope {
    let alone = Electorate { all: [node.clone()].into(), counted: BTreeSet::new() };
    Scope { voters: alone, ..of_voters(cluster, state, []) }
}

/// Returns the scope of a command that may make the node unavailable: for a voter, this includes all voters.
#[must_use]
pub fn of_leaving(cluster: &Cluster, state: &RecordedState, node: &NodeName) -> Scope {
    let scope = of_voters(cluster, state, []);
    if scope.voters.all.contains(node) { scope } else { of_node(cluster, state, node) }
}

/// Records the machine identities and addresses of the nodes that run their intended system.
///
/// # Errors
/// The record cannot be read or written.
pub fn record_machines(project: &Project, cluster: &Cluster, locks: &Locks, report: &Report) -> Result<(), Failure> {
    let is_done = |node: &NodeName| matches!(report.nodes.get(node), Some(Outcome::Changed | Outcome::Unchanged));
    let found = locks.keeper.machine_ids().into_iter().filter(|(node, _)| is_done(node));
    let machine = |(node, machine_id)| {
        let address = cluster.nodes.get(&node).map(|node: &Node| node.ip);
        (node, RecordedMachine { machine_id, address })
    };
    let found: BTreeMap<_, _> = found.map(machine).collect();
    let mut state = project.state()?;
    if found.iter().all(|(node, machine)| state.machines.get(node) == Some(machine)) {
        return Ok(());
    }
    state.machines.extend(found);
    project.record(&state)
}
