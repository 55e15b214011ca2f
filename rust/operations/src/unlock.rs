//! Unlock: a node's lock, its holder, its age and the node's current activity; then removal of the lock.

use machinist_model::NodeName;
use machinist_remote::Remote;
use machinist_rollout::{
    HostFacts,
    lock::{self, Claimant, Decision, Holder, break_lock},
};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::{
    connect,
    context::Context,
    failure::{self, Failure, Kind},
    query,
    run_id::run_id,
};

/// Request to find locks.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
}

/// Locks of the nodes that answered.
pub struct Found {
    /// Number of nodes that were queried.
    pub asked: usize,
    /// Number of nodes that did not answer: they may be locked.
    pub silent: usize,
    /// Locks that were found.
    pub locks: Vec<Lock>,
    run: String,
}

/// Lock on a node, with the connection to the node.
pub struct Lock {
    /// State of the lock.
    pub state: LockState,
    remote: Box<dyn Remote>,
    facts: HostFacts,
}

/// State of a lock.
#[derive(Clone, Debug, Serialize)]
pub struct LockState {
    /// Name of the node.
    pub node: NodeName,
    /// Run that holds it.
    pub holder: Holder,
    /// Seconds until it expires.
    pub left: u64,
    /// True if the holder is known to have ended, or the lock has expired.
    pub abandoned: bool,
    /// Units that are currently activating a system.
    pub activations: Vec<String>,
}

/// Finds the locks of nodes. A node that does not answer is a warning.
///
/// # Errors
/// The cluster's files are invalid.
pub fn find(context: &Context, request: &Request) -> Result<Found, Failure> {
    let cluster = context.project.load()?.cluster;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let connector = connect::connector(context, &cluster, None)?;
    let mut locks = Vec::new();
    let mut silent = 0;
    for (node, asked) in query::nodes(&nodes, &connector)? {
        match asked {
            Err(error) => {
                silent += 1;
                context.events.warn(format!("{node}: {}", failure::words(&node, &error)));
            }
            Ok((remote, facts)) => {
                if let Some(state) = state(&node, &facts) {
                    locks.push(Lock { state, remote, facts });
                }
            }
        }
    }
    Ok(Found { asked: nodes.len(), silent, locks, run: run_id(context) })
}

impl Found {
    /// Revokes a lock from its holder. An activation that was started under it is reverted to the previous system.
    ///
    /// # Errors
    /// The node does not answer, or its lock has changed hands.
    pub fn take(&self, context: &Context, lock: &Lock) -> Result<(), Failure> {
        let node = &lock.state.node;
        let since = context.clock.now().format(&Rfc3339).unwrap_or_default();
        let process = lock::this_process();
        let claimant = Claimant { run: self.run.clone(), who: context.who.clone(), process, since };
        break_lock(&*lock.remote, &lock.facts.lock, &claimant)
            .map_err(|error| Failure::on(node, Kind::Failed, &error).maybe_hint(error.hint()))
    }
}

fn state(node: &NodeName, facts: &HostFacts) -> Option<LockState> {
    let holder = facts.lock.holder.clone()?;
    let moment = lock::moment(facts, &facts.lock);
    let left = holder.left(&moment);
    let idle = lock::Moment { activating: false, ..moment };
    let abandoned = matches!(lock::decide(&facts.lock, "", &idle), Decision::TakeOver { .. });
    let activations = facts.activations.iter().cloned().collect();
    Some(LockState { node: node.clone(), holder, left, abandoned, activations })
}
