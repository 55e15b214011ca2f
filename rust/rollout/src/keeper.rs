//! Takes the locks of a command, keeps them alive while it goes on, notices when they are lost, and passes an interruption on to
//! the hosts in the middle.

mod acquire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError};

use crate::{
    Interrupt,
    identity::Machine,
    lease::{self, EVERY},
    lock::Claimant,
    step::{
        Connector, StepError,
        activate::Activation,
        lock::{self, Kept, Token},
    },
};

pub use acquire::{Refusals, Scope};

/// How long nodes may take to answer when their locks are renewed at once.
const ANSWER: Duration = Duration::from_secs(20);

/// How soon an interruption reaches the hosts.
const TICK: Duration = Duration::from_millis(50);

struct Held {
    remote: Arc<dyn Remote>,
    token: Token,
    machine: Machine,
    /// When the last renewal that succeeded was sent, on the clock of [`uptime`].
    renewed: Duration,
    /// Whether a renewal is under way.
    renewing: bool,
    /// Why this lock is lost, if it is. It stays lost.
    lost: Option<String>,
    /// The activation that goes on there, until the host was told to abort it.
    activation: Option<Activation>,
}

#[derive(Default)]
struct Table {
    held: BTreeMap<NodeName, Held>,
    /// The voters that are locked as one.
    voters: BTreeSet<NodeName>,
    /// How many of them must be renewed for the run to hold them.
    needed: usize,
    /// Why the run holds the voters no more, if it does not. Then it does nothing anywhere.
    lost: Option<String>,
}

impl Table {
    /// Since when the lock of a node and those of the voters were all held.
    fn held_since(&self, node: &NodeName) -> Option<Duration> {
        let own = self.held.get(node)?.renewed;
        let voters = self.voters.iter().filter_map(|voter| Some(self.held.get(voter)?.renewed));
        if self.needed == 0 { Some(own) } else { lease::held_since(voters, self.needed).map(|group| group.min(own)) }
    }

    /// Since when everything that must be held was held.
    fn group_since(&self) -> Option<Duration> {
        let times = |nodes: &mut dyn Iterator<Item = &Held>| nodes.map(|held| held.renewed).collect::<Vec<_>>();
        if self.needed == 0 {
            times(&mut self.held.values()).into_iter().max()
        } else {
            let mut voters = self.voters.iter().filter_map(|voter| self.held.get(voter));
            lease::held_since(times(&mut voters), self.needed)
        }
    }
}

type Shared = Arc<Mutex<Table>>;

/// The locks of a command.
pub struct Keeper {
    claimant: Claimant,
    connector: Connector,
    interrupt: Interrupt,
    table: Shared,
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
    fn renew_from_now_on(&self) {
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

    fn give_back(&self, held: BTreeMap<NodeName, Held>) -> Vec<NodeName> {
        let failed = each(held, |node, held| {
            let again = |_| self.connector.connect(node).and_then(|fresh| lock::release(&*fresh, &held.token));
            lock::release(&*held.remote, &held.token).or_else(again).is_err().then_some(())
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

fn table(table: &Shared) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since this computer booted, those included in which it slept: proc_uptime(5). A clock that may be set, or stands
/// still while a laptop sleeps, would not tell how old a lock is.
fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
    // Without an answer no lock counts as renewed.
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(Duration::MAX)
}

/// Does the same for all nodes at once and returns what it returned.
fn each<I: Send, T: Send>(
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

/// Tells each host in the middle to go back. The host decides: one that was just confirmed stays.
fn abort(shared: &Shared) {
    let told: Vec<(Activation, Arc<dyn Remote>)> = table(shared)
        .held
        .values_mut()
        .filter_map(|held| Some((held.activation.take()?, Arc::clone(&held.remote))))
        .collect();
    for (activation, remote) in told {
        // If it cannot be told, no confirmation comes and it goes back by itself.
        let _told = activation.ask_to_abort(&*remote, "the operator stopped the run");
    }
}

/// Renews the locks, each by a thread of its own: a node that does not answer must not let the other locks grow old. One that is
/// still at it is left alone.
fn renew(shared: &Shared, connector: &Connector) {
    let now = uptime();
    let mut table = table(shared);
    let lasts = lease::lasts(table.group_since().unwrap_or(now), now);
    for (node, held) in table.held.iter_mut().filter(|(_, held)| !held.renewing) {
        held.renewing = true;
        let renewal =
            Renewal { node: node.clone(), remote: Arc::clone(&held.remote), token: held.token.clone(), lasts };
        let shared = Arc::clone(shared);
        let connector = Arc::clone(connector);
        thread::spawn(move || renewal.run(&shared, &connector));
    }
}

struct Renewal {
    node: NodeName,
    remote: Arc<dyn Remote>,
    token: Token,
    lasts: u64,
}

impl Renewal {
    fn run(&self, shared: &Shared, connector: &Connector) {
        let first = self.ask(&*self.remote);
        let (answer, fresh) = match first {
            Ok(answer) => (Some(answer), None),
            Err(_) => match connector.connect(&self.node).map(Arc::<dyn Remote>::from) {
                Ok(fresh) => (self.ask(&*fresh).ok(), Some(fresh)),
                Err(_) => (None, None),
            },
        };
        let mut table = table(shared);
        // It may have been given back and taken again meanwhile.
        let Some(held) = table.held.get_mut(&self.node).filter(|held| held.token == self.token) else { return };
        held.renewing = false;
        if let Some(fresh) = fresh {
            held.remote = fresh;
        }
        match answer {
            None => {}
            Some((sent, Kept::Ours)) => held.renewed = held.renewed.max(sent),
            Some((_, Kept::Lost(holder))) => {
                let why = format!("the lock of this run on {} is gone ({holder} holds it now)", self.node);
                held.lost.get_or_insert_with(|| why.clone());
                if table.voters.contains(&self.node) {
                    table.lost.get_or_insert(why);
                }
            }
        }
    }

    /// Returns when the renewal was sent, and what the node said.
    fn ask(&self, remote: &dyn Remote) -> Result<(Duration, Kept), RemoteError> {
        let sent = uptime();
        Ok((sent, lock::renew(remote, &self.token, self.lasts)?))
    }
}

#[cfg(test)]
mod tests;
