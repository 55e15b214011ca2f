//! Load on rehearsal machines: writes to and reads from etcd through each member, and HTTP requests, while the machines
//! change. Each request is noted; [`figures`](super::figures) evaluates them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    figures::{self, Answers, Attempt, Etcd, Sort, Span},
    http::Target,
    store::{Answer, Client, Credentials},
};
use crate::sandbox::enter;

/// Keys that the load writes; the rehearsal's own etcd has them, and no other.
pub(super) const PREFIX: &str = "machinist-rehearsal/";

/// Pause between two requests of a client.
const PAUSE: Duration = Duration::from_millis(50);

/// Failures in succession after which a client enters its network again: a reboot of the machine has replaced it.
const STALE: u32 = 3;

/// Time limit for reading all keys at the end.
const AT_THE_END: Duration = Duration::from_secs(30);

/// A member of etcd as its client reaches it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name of the node.
    pub name: String,
    /// URL of its clients' port.
    pub url: String,
    /// The machine's own network: the node's firewall does not open the port to the operator.
    pub namespace: PathBuf,
}

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    members: Vec<Member>,
    urls: Vec<String>,
    credentials: Option<Credentials>,
}

struct Shared {
    begun: Instant,
    stop: AtomicBool,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    attempts: Vec<Attempt>,
    acknowledged: BTreeSet<String>,
}

/// The end of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The load did not write.
    NothingWritten,
    /// Number of acknowledged writes that etcd does not have.
    Lost(usize),
    /// etcd cannot be read.
    Unreadable,
}

impl Load {
    /// Starts a client for each member, and one for each HTTP target in the operator's network.
    #[must_use]
    pub fn start(
        members: Vec<Member>,
        credentials: Option<Credentials>,
        targets: Vec<Target>,
        operator: &Path,
    ) -> Self {
        let shared = Arc::new(Shared { begun: Instant::now(), stop: AtomicBool::new(false), book: Mutex::default() });
        let urls = targets.iter().map(|target| target.url.clone()).collect();
        let mut clients = Vec::new();
        for (member, credentials) in members.iter().cloned().zip(std::iter::repeat(&credentials)) {
            let Some(credentials) = credentials.clone() else { continue };
            let requests = Arc::clone(&shared);
            clients.push(repeat(&shared, move |writes| requests.use_etcd(&member, &credentials, writes)));
        }
        for target in targets {
            let (requests, operator) = (Arc::clone(&shared), operator.to_owned());
            clients.push(repeat(&shared, move |_| requests.use_http(&target, &operator)));
        }
        Self { shared, clients, members, urls, credentials }
    }

    /// Returns the time since the load began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// Returns the figures of etcd in the span; `None` if the load does not use it.
    #[must_use]
    pub fn etcd(&self, span: Span) -> Option<Etcd> {
        let members: Vec<String> = self.members.iter().map(|member| member.name.clone()).collect();
        self.credentials.as_ref().map(|_| figures::etcd(&self.shared.book().attempts, &members, span))
    }

    /// Returns the figures of the HTTP targets in the span, by URL.
    #[must_use]
    pub fn http(&self, span: Span) -> BTreeMap<String, Answers> {
        figures::http(&self.shared.book().attempts, &self.urls, span)
    }

    /// Ends the load, and compares the acknowledged writes with the content of etcd.
    #[must_use]
    pub fn finish(mut self) -> Ended {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            // A client that panicked has noted its requests until then.
            let _ended = client.join();
        }
        let acknowledged = std::mem::take(&mut self.shared.book().acknowledged);
        let Some(credentials) = self.credentials.as_ref().filter(|_| !acknowledged.is_empty()) else {
            return Ended::NothingWritten;
        };
        read_all(&self.members, credentials)
            .map_or(Ended::Unreadable, |found| Ended::Lost(acknowledged.difference(&found).count()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs a client until the load ends: each time in a thread of its own, because a thread enters a network for good.
fn repeat(
    shared: &Arc<Shared>,
    client: impl Fn(&mut u64) -> std::io::Result<()> + Send + Sync + 'static,
) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut count = 0;
        while !shared.is_over() {
            let ended = thread::scope(|scope| scope.spawn(|| client(&mut count)).join());
            if !matches!(ended, Ok(Ok(()))) {
                thread::sleep(PAUSE);
            }
        }
    })
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, to: &str, sort: Sort, answered: bool) {
        let attempt = Attempt { to: to.to_owned(), sort, ended: self.begun.elapsed(), answered };
        self.book().attempts.push(attempt);
    }

    /// Writes and reads through a member until it does not answer any more.
    fn use_etcd(&self, member: &Member, credentials: &Credentials, writes: &mut u64) -> std::io::Result<()> {
        enter(&member.namespace)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut client = Client::new(&member.url, credentials);
        runtime.block_on(async {
            let mut failures = 0;
            while failures < STALE && !self.is_over() {
                *writes += 1;
                let key = format!("{PREFIX}{}/{:09}", member.name, *writes);
                let written = client.put(&key).await;
                self.note(&member.name, Sort::Write, written == Answer::Given);
                if written == Answer::Given {
                    self.book().acknowledged.insert(key.clone());
                }
                let read = client.get(&key).await;
                self.note(&member.name, Sort::Read, read == Answer::Given);
                failures = if read == Answer::Given { 0 } else { failures + 1 };
                tokio::time::sleep(PAUSE).await;
            }
        });
        Ok(())
    }

    /// Requests the target until the load ends.
    fn use_http(&self, target: &Target, operator: &Path) -> std::io::Result<()> {
        enter(operator)?;
        for turn in 0.. {
            if self.is_over() {
                break;
            }
            self.note(&target.url, Sort::Http, target.answers(turn));
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Reads all keys of the load through the first member that answers.
fn read_all(members: &[Member], credentials: &Credentials) -> Option<BTreeSet<String>> {
    let begun = Instant::now();
    while begun.elapsed() < AT_THE_END {
        for member in members {
            let read = || {
                enter(&member.namespace).ok()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
                runtime.block_on(Client::new(&member.url, credentials).keys(PREFIX))
            };
            if let Ok(Some(found)) = thread::scope(|scope| scope.spawn(read).join()) {
                return Some(found);
            }
        }
        thread::sleep(PAUSE);
    }
    None
}
