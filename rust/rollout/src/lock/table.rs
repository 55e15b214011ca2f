//! Locks of a command, in their last known state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use machinist_model::NodeName;
use machinist_remote::Remote;

use super::{lease, token::Token};
use crate::{identity::Machine, step::activate::Activation};

/// One held lock.
pub struct Held {
    pub remote: Arc<dyn Remote>,
    pub token: Token,
    pub machine: Machine,
    /// The time at which the last successful renewal was sent, on the clock of [`uptime`].
    pub renewed: Duration,
    /// True if a renewal is in progress.
    pub renewing: bool,
    /// The reason why this lock was lost, if it was. A lost lock is never regained.
    pub lost: Option<String>,
    /// The activation in progress on the node. Cleared by the request to abort it.
    pub activation: Option<Activation>,
}

#[derive(Default)]
pub struct Table {
    pub held: BTreeMap<NodeName, Held>,
    /// The voters that are locked as a group.
    pub voters: BTreeSet<NodeName>,
    /// Number of voters that must be renewed for the run to hold the group.
    pub needed: usize,
    /// The reason why the run lost the voters as a group, if it did. It then does nothing on any node.
    pub lost: Option<String>,
}

impl Table {
    /// Returns the time since when the lock of a node and those of the voters were all held.
    pub fn held_since(&self, node: &NodeName) -> Option<Duration> {
        let own = self.held.get(node)?.renewed;
        let voters = self.voters.iter().filter_map(|voter| Some(self.held.get(voter)?.renewed));
        if self.needed == 0 { Some(own) } else { lease::held_since(voters, self.needed).map(|group| group.min(own)) }
    }

    /// Returns the time since when all required locks were held.
    pub fn group_since(&self) -> Option<Duration> {
        let times = |nodes: &mut dyn Iterator<Item = &Held>| nodes.map(|held| held.renewed).collect::<Vec<_>>();
        if self.needed == 0 {
            times(&mut self.held.values()).into_iter().max()
        } else {
            let mut voters = self.voters.iter().filter_map(|voter| self.held.get(voter));
            lease::held_since(times(&mut voters), self.needed)
        }
    }
}

pub type Shared = Arc<Mutex<Table>>;

/// Locks the table. After a panic in another thread it is still consistent: each change is one assignment.
pub fn table(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the time since the boot of this computer, including suspension: proc_uptime(5). A clock that can be set, or
/// that stops while a laptop is suspended, does not measure a lock's age.
pub fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
    // If it cannot be read, no lock counts as renewed.
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(Duration::MAX)
}
