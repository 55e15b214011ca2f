//! Takes the locks of a command, keeps them alive while it goes on, notices when they are lost, and passes an interruption on to
//! the hosts in the middle.

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
    remote,
    renew::{abort, renew},
    state::Claimant,
    table::{Held, Shared, table, uptime},
    token::Token,
};
use crate::{
    Interrupt,
    step::{Connector, StepError, activate::Activation},
};

/// How long nodes may take to answer when their locks are renewed at once.
const ANSWER: Duration = Duration::from_secs(20);

/// How soon an interruption reaches the hosts.
const TICK: Duration = Duration::from_millis(50);

/// The locks of a command.
pub struct Keeper {
    pub(super) claimant: Claimant,
    pub(super) connector: Connector,
    interrupt: Interrupt,
    pub(super) table: Shared,
    stop: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl Keeper {
    /// Begins without locks.
    #[must_use]
    pub fn new(claimant: Claimant, connector: Connector, interrupt: Interrupt) -> Self {
        Self { claimant, connector, interrupt, table: Shared::default(), stop: Mutex::default() }
    }

    /// Returns who takes the locks.
    #[must_use]
    pub const fn claimant(&self) -> &Claimant {
        &self.claimant
    }

    /// Returns what stops the command.
    #[must_use]
    pub const fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Begins to renew the locks, with the first one.
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

    /// Whether the node's lock was taken.
    #[must_use]
    pub fn has(&self, node: &NodeName) -> bool {
        table(&self.table).held.contains_key(node)
    }

    /// Returns the nodes that are locked.
    #[must_use]
    pub fn locked(&self) -> BTreeSet<NodeName> {
        table(&self.table).held.keys().cloned().collect()
    }

    /// Returns the token under which the next thing may be done on a node. A process that was suspended asks the nodes first
    /// whether the locks still are its own.
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

    /// Renews the locks at once, and waits until that was `enough`, all nodes have answered, or the time is over.
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

    /// Returns why a lock is lost, if one is. Locks that were not renewed for too long are asked for first.
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

    /// Remembers what goes on on a node, so that an interruption reaches it.
    pub(crate) fn activating(&self, activation: &Activation) {
        if let Some(held) = table(&self.table).held.get_mut(&activation.node) {
            held.activation = Some(activation.clone());
        }
    }

    /// The connection to the node is another one now.
    pub(crate) fn moved(&self, node: &NodeName, remote: &Arc<dyn Remote>) {
        if let Some(held) = table(&self.table).held.get_mut(node) {
            held.remote = Arc::clone(remote);
        }
    }

    /// The node's activation has ended.
    pub(crate) fn ended(&self, node: &NodeName) {
        if let Some(held) = table(&self.table).held.get_mut(node) {
            held.activation = None;
        }
    }

    /// Gives all locks back, all at once. Returns the nodes where that failed: there they expire.
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
            // It does not panic; if it did, the locks expire.
            let _ended = thread.join();
        }
    }
}

impl Drop for Keeper {
    /// Locks that were not given back expire.
    fn drop(&mut self) {
        self.end();
    }
}

/// Does the same for all nodes at once and returns what it returned.
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
