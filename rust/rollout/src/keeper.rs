//! Keeps the locks of a run alive while it goes on, and passes an interruption on to the hosts in the middle.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use machinist_model::NodeName;
use machinist_remote::Remote;

use crate::{
    lock::LASTS,
    step::{
        Connector,
        activate::Activation,
        lock::{self, Token},
    },
};

/// Three renewals may fail in a row before a lock expires.
const EVERY: Duration = Duration::from_secs(LASTS / 4);

/// How soon an interruption reaches the hosts.
const TICK: Duration = Duration::from_millis(50);

/// Asks a run to stop where that is safe. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct Held {
    remote: Arc<dyn Remote>,
    token: Token,
    /// The activation that goes on there, until the host was told to abort it.
    activation: Option<Activation>,
}

type Table = Arc<Mutex<BTreeMap<NodeName, Held>>>;

/// The locks of a run.
pub struct Keeper {
    held: Table,
    stop: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Keeper {
    /// Begins to renew the locks.
    pub(crate) fn start(
        locks: BTreeMap<NodeName, (Arc<dyn Remote>, Token)>,
        connector: Connector,
        interrupt: Interrupt,
    ) -> Self {
        let held = |(node, (remote, token))| (node, Held { remote, token, activation: None });
        let held: Table = Arc::new(Mutex::new(locks.into_iter().map(held).collect()));
        let (sender, receiver) = mpsc::channel::<()>();
        let table = Arc::clone(&held);
        let thread = thread::spawn(move || {
            let mut due = Instant::now() + EVERY;
            while receiver.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if interrupt.is_set() {
                    abort(&table);
                }
                if Instant::now() >= due {
                    renew(&table, &connector);
                    due = Instant::now() + EVERY;
                }
            }
        });
        Self { held, stop: Some((sender, thread)) }
    }

    /// Returns the lock of a node.
    pub(crate) fn token(&self, node: &NodeName) -> Option<Token> {
        table(&self.held).get(node).map(|held| held.token.clone())
    }

    /// Remembers what goes on on a node, so that an interruption reaches it.
    pub(crate) fn activating(&self, activation: &Activation) {
        if let Some(held) = table(&self.held).get_mut(&activation.node) {
            held.activation = Some(activation.clone());
        }
    }

    /// The connection to the node is another one now.
    pub(crate) fn moved(&self, node: &NodeName, remote: &Arc<dyn Remote>) {
        if let Some(held) = table(&self.held).get_mut(node) {
            held.remote = Arc::clone(remote);
        }
    }

    /// The node's activation has ended.
    pub(crate) fn ended(&self, node: &NodeName) {
        if let Some(held) = table(&self.held).get_mut(node) {
            held.activation = None;
        }
    }

    /// Gives all locks back, all at once. Returns the nodes where that failed: there they expire.
    pub(crate) fn release(mut self, connector: &Connector) -> Vec<NodeName> {
        self.stop();
        let held = std::mem::take(&mut *table(&self.held));
        each(held, |node, held| {
            let again = |_| connector.connect(node).and_then(|fresh| lock::release(&*fresh, &held.token));
            lock::release(&*held.remote, &held.token).or_else(again).is_err()
        })
    }

    fn stop(&mut self) {
        if let Some((sender, thread)) = self.stop.take() {
            drop(sender);
            // It does not panic; if it did, the locks expire.
            let _ended = thread.join();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

fn table(table: &Table) -> MutexGuard<'_, BTreeMap<NodeName, Held>> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does the same for all nodes at once and returns those for which it returned true.
fn each(held: BTreeMap<NodeName, Held>, work: impl Fn(&NodeName, &Held) -> bool + Sync) -> Vec<NodeName> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> =
            held.into_iter().map(|(node, held)| scope.spawn(move || work(&node, &held).then_some(node))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    })
}

/// Tells each host in the middle to go back. The host decides: one that was just confirmed stays.
fn abort(held: &Table) {
    let told: Vec<(Activation, Arc<dyn Remote>)> =
        table(held).values_mut().filter_map(|held| Some((held.activation.take()?, Arc::clone(&held.remote)))).collect();
    for (activation, remote) in told {
        // If it cannot be told, no confirmation comes and it goes back by itself.
        let _told = activation.ask_to_abort(&*remote, "the operator stopped the run");
    }
}

fn renew(held: &Table, connector: &Connector) {
    let locks: Vec<(NodeName, Arc<dyn Remote>, Token)> =
        table(held).iter().map(|(node, held)| (node.clone(), Arc::clone(&held.remote), held.token.clone())).collect();
    let fresh: Vec<Option<(NodeName, Arc<dyn Remote>)>> = thread::scope(|scope| {
        let renew = |(node, remote, token): (NodeName, Arc<dyn Remote>, Token)| {
            scope.spawn(move || {
                // A lock that is lost stays lost: the node itself refuses what is done under it.
                lock::renew(&*remote, &token).err()?;
                let fresh: Arc<dyn Remote> = Arc::from(connector.connect(&node).ok()?);
                lock::renew(&*fresh, &token).ok()?;
                Some((node, fresh))
            })
        };
        let threads: Vec<_> = locks.into_iter().map(renew).collect();
        threads.into_iter().map(|thread| thread.join().ok().flatten()).collect()
    });
    for (node, remote) in fresh.into_iter().flatten() {
        if let Some(held) = table(held).get_mut(&node) {
            held.remote = remote;
        }
    }
}
