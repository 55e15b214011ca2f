//! Keeper of a command's locks: takes and renews them, detects when they are lost, and forwards an interruption to the
//! hosts with an activation in progress.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_remote::Remote;

use super::{
    lease::{self, EVERY},
    remote::{self, Kept},
    renew::{abort, renew},
    state::Claimant,
    table::{Held, Shared, table, uptime},
    token::Token,
};
use crate::{
    Interrupt,
    step::{Connector, StepError, activate::Activation},
};

/// Time limit for nodes to respond when their locks are renewed immediately.
const ANSWER: Duration = Duration::from_secs(20);

/// Interval of the check for an interruption.
const TICK: Duration = Duration::from_millis(50);

/// Locks of a command.
pub struct Keeper {
    pub(super) claimant: Claimant,
    pub(super) connector: Connector,
    interrupt: Interrupt,
    pub(super) table: Shared,
    stop: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Keeper {
    /// Returns a keeper without locks.
    #[must_use]
    pub fn new(claimant: Claimant, connector: Connector, interrupt: Interrupt) -> Self {
        Self { claimant, connector, interrupt, table: Shared::default(), stop: Mutex::default() }
    }

    /// Returns the claimant of the locks.
    #[must_use]
    pub const fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// Returns the interruption of the command.
    #[must_use]
    pub const fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Starts the renewal of the locks. Called with the first lock.
    pub(super) fn renew_from_now_on(&self) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::channel::<()>();
        let (shared, connector, interrupt) =
            (Arc::clone(&self.table), Arc::clone(&self.connector), self.interrupt.clone());
        let thread = thread::spawn(move || {
            let mut due = Instant::now() + EVERY;
            while receiver.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if interrupt.is_set() {
                    abort(&shared);
                }
                if Instant::now() >= due {
                    renew(&shared, &connector);
                    due = Instant::now() + EVERY;
                }
            }
        });
        *stop = Some((sender, thread));
    }

    /// Returns true if the node's lock was taken.
    #[must_use]
    pub fn has(&self, node: &NodeName) -> bool {
        table(&self.table).held.contains_key(node)
    }

    /// Returns the locked nodes.
    #[must_use]
    pub fn locked(&self) -> BTreeSet<NodeName> {
        table(&self.table).held.keys().cloned().collect()
    }

    /// Returns the token for the next operation on a node. If the locks may have expired, because the process was
    /// suspended, they are first renewed on the nodes.
    ///
    /// # Errors
    /// The node was not locked, or the locks are lost.
    pub fn token(&self, node: &NodeName) -> Result<Token, StepError> {
        if let Some(token) = self.valid(node)? {
            return Ok(token);
        }
        self.renew_now(|| !matches!(self.valid(node), Ok(None)));
        self.valid(node)?
            .ok_or_else(|| StepError::Locked("the locks of this run could not be renewed in time".to_owned()))
    }

    /// Renews the locks immediately, and waits until `enough` returns true, all nodes have responded, or the time limit
    /// expires.
    fn renew_now(&self, enough: impl Fn() -> bool) {
        renew(&self.table, &self.connector);
        let deadline = Instant::now() + ANSWER;
        let goes_on = || table(&self.table).held.values().any(|held| held.renewing);
        while !enough() && goes_on() && Instant::now() < deadline {
            thread::sleep(TICK);
        }
    }

    fn valid(&self, node: &NodeName) -> Result<Option<Token>, StepError> {
        let table = table(&self.table);
        if let Some(why) = &table.lost {
            return Err(StepError::Locked(why.clone()));
        }
        let held = table.held.get(node);
        let held = held.ok_or_else(|| StepError::Locked("this run holds no lock there".to_owned()))?;
        if let Some(why) = &held.lost {
            return Err(StepError::Locked(why.clone()));
        }
        let is_valid = table.held_since(node).is_some_and(|since| lease::is_valid(since, uptime()));
        Ok(is_valid.then(|| held.token.clone()))
    }

    /// Returns the reason if a lock is lost. Locks whose renewal is overdue are renewed first.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        if self.locked().iter().any(|node| matches!(self.valid(node), Ok(None))) {
            self.renew_now(|| false);
        }
        let table = table(&self.table);
        table.lost.clone().or_else(|| table.held.values().find_map(|held| held.lost.clone()))
    }

    /// Returns the machine-id of each node that was locked.
    #[must_use]
    pub fn machine_ids(&self) -> BTreeMap<NodeName, String> {
        let table = table(&self.table);
        let known = table.held.iter().filter(|(_, held)| !held.machine.id.is_empty());
        known.map(|(node, held)| (node.clone(), held.machine.id.clone())).collect()
    }

    /// Records the activation in progress on a node, so that an interruption is forwarded to it.
    pub(crate) fn activating(&self, activation: &Activation) {
        if let Some(held) = table(&self.table).held.get_mut(&activation.node) {
            held.activation = Some(activation.clone());
        }
    }

    /// Replaces the connection to the node.
    pub(crate) fn moved(&self, node: &NodeName, remote: &Arc<dyn Remote>) {
        if let Some(held) = table(&self.table).held.get_mut(node) {
            held.remote = Arc::clone(remote);
        }
    }

    /// Renews the lock of a node that has just booted, over this new connection, and returns its token. The host counts
    /// the age of its lock from its boot, which may have taken longer than a lock lasts.
    ///
    /// # Errors
    /// The lock is lost, or the connection fails.
    pub(crate) fn booted(&self, node: &NodeName, connection: &Arc<dyn Remote>) -> Result<Token, StepError> {
        self.moved(node, connection);
        let now = uptime();
        let (token, lasts) = {
            let table = table(&self.table);
            let held = table.held.get(node);
            let held = held.ok_or_else(|| StepError::Locked("this run holds no lock there".to_owned()))?;
            (held.token.clone(), lease::lasts(table.group_since().unwrap_or(now), now))
        };
        match remote::renew(&**connection, &token, lasts)? {
            Kept::Lost(holder) => {
                Err(StepError::Locked(format!("the lock of this run on {node} is gone ({holder} holds it now)")))
            }
            Kept::Ours => {
                if let Some(held) = table(&self.table).held.get_mut(node) {
                    held.renewed = held.renewed.max(now);
                }
                self.token(node)
            }
        }
    }

    /// Records that the node's activation has ended.
    pub(crate) fn ended(&self, node: &NodeName) {
        if let Some(held) = table(&self.table).held.get_mut(node) {
            held.activation = None;
        }
    }

    /// Releases all locks, all at once. Returns the nodes where that failed; their locks expire.
    pub fn release(&self) -> Vec<NodeName> {
        self.end();
        let held = std::mem::take(&mut table(&self.table).held);
        self.give_back(held)
    }

    pub(super) fn give_back(&self, held: BTreeMap<NodeName, Held>) -> Vec<NodeName> {
        let failed = each(held, |node, held| {
            let again = |_| self.connector.connect(node).and_then(|fresh| remote::release(&*fresh, &held.token));
            remote::release(&*held.remote, &held.token).or_else(again).is_err().then_some(())
        });
        failed.into_keys().collect()
    }

    fn end(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = stop {
            drop(sender);
            // The thread does not panic; if it did, the locks would expire.
            let _ended = thread.join();
        }
    }
}

impl Drop for Keeper {
    /// Stops the renewal; unreleased locks expire.
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs the same work for all nodes at once and returns the results.
pub(super) fn each<I: Send, T: Send>(
    nodes: BTreeMap<NodeName, I>,
    work: impl Fn(&NodeName, &I) -> Option<T> + Sync,
) -> BTreeMap<NodeName, T> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> =
            nodes.into_iter().map(|(node, item)| scope.spawn(move || Some((work(&node, &item)?, node)))).collect();
        let done = threads.into_iter().filter_map(|thread| thread.join().ok().flatten());
        done.map(|(result, node)| (node, result)).collect()
    })
}

#[cfg(test)]
mod tests;
