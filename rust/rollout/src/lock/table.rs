//! The locks that a command holds, as far as it knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use machinist_model::NodeName;
use machinist_remote::Remote;

use super::{lease, token::Token};
use crate::{identity::Machine, step::activate::Activation};

/// One lock.
pub struct Held {
    pub remote: Arc<dyn Remote>,
    pub token: Token,
    pub machine: Machine,
    /// When the last renewal that succeeded was sent, on the clock of [`uptime`].
    pub renewed: Duration,
    /// Whether a renewal is under way.
    pub renewing: bool,
    /// Why this lock is lost, if it is. It stays lost.
    pub lost: Option<String>,
    /// The activation that goes on there, until the host was told to abort it.
    pub activation: Option<Activation>,
}

#[derive(Default)]
pub struct Table {
    pub held: BTreeMap<NodeName, Held>,
    /// The voters that are locked as one.
    pub voters: BTreeSet<NodeName>,
    /// How many of them must be renewed for the run to hold them.
    pub needed: usize,
    /// Why the run holds the voters no more, if it does not. Then it does nothing anywhere.
    pub lost: Option<String>,
}

impl Table {
    /// Since when the lock of a node and those of the voters were all held.
    pub fn held_since(&self, node: &NodeName) -> Option<Duration> {
        let own = self.held.get(node)?.renewed;
        let voters = self.voters.iter().filter_map(|voter| Some(self.held.get(voter)?.renewed));
        if self.needed == 0 { Some(own) } else { lease::held_since(voters, self.needed).map(|group| group.min(own)) }
    }

    /// Since when everything that must be held was held.
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

/// Locks the table. A thread that panicked left it as it was: each change is one assignment.
pub fn table(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since this computer booted, those included in which it slept: proc_uptime(5). A clock that may be set, or stands
/// still while a laptop sleeps, would not tell how old a lock is.
pub fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
    // Without an answer no lock counts as renewed.
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(Duration::MAX)
}
