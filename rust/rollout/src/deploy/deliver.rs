//! Copy of keys and store paths to all hosts at once; running systems are not changed yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use machinist_model::NodeName;
use machinist_nix::PathInfo;
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    preflight::Deltas,
    run::Deploy,
};
use crate::{
    EventKind,
    fan_out::{
        peers::Peers,
        schedule::{End, Job, Schedule},
        slices::{self, Parts, Threshold},
    },
    outcome::Report,
    step::{
        StepError,
        copy::{self, Delta, Sent},
        keys, substitute,
    },
    text::words,
};

/// A copy to all hosts.
struct Delivery {
    deploy: Arc<Deploy>,
    hosts: Hosts,
    deltas: Deltas,
    peers: Peers,
    /// Addresses under which the participating hosts reach each other.
    addresses: BTreeMap<NodeName, IpAddr>,
    /// The slices that the operator has sent to a first host.
    sent: Mutex<BTreeMap<usize, Arc<Sent>>>,
    received: Mutex<BTreeMap<NodeName, Received>>,
}

/// Bytes that a host has received, by sender.
#[derive(Clone, Debug, Default)]
struct Received {
    operator: u64,
    peers: BTreeMap<NodeName, u64>,
}

impl Received {
    fn bytes(&self) -> u64 {
        self.operator + self.peers.values().sum::<u64>()
    }
}

impl Deploy {
    /// Copies closures and keys. Returns the hosts that are ready.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        hosts: &Hosts,
        deltas: &Deltas,
        report: &mut Report,
    ) -> BTreeSet<NodeName> {
        let mut tasks = JoinSet::new();
        for (node, delta) in deltas {
            let Some(host) = hosts.get(node) else { continue };
            let (this, host, delta) = (Arc::clone(self), Arc::clone(host), Arc::clone(delta));
            tasks.spawn_blocking(move || (host.target.node.clone(), this.make_ready(&host, &delta)));
        }
        let mut ready = Deltas::new();
        for (node, result) in tasks.join_all().await {
            match result {
                Ok(left) => drop(ready.insert(node, left)),
                Err(error) => self.fail(report, &node, &error),
            }
        }
        let (delivery, parts) = Delivery::begin(self, hosts, ready).await;
        let done = delivery.run(parts, report).await;
        delivery.end().await;
        done
    }

    /// Copies keys if there is room for the rest, and lets the host substitute paths. Returns the paths that remain to
    /// be sent.
    fn make_ready(&self, host: &Host, delta: &Arc<Delta>) -> Result<Arc<Delta>, StepError> {
        if self.interrupt().is_set() {
            return Err(StepError::Interrupted);
        }
        copy::check_room(delta, host.facts.store_free)?;
        self.context.locks.token(&host.target.node)?;
        self.put_keys(host)?;
        if self.policy.substitute { self.substitute(host, delta).map(Arc::new) } else { Ok(Arc::clone(delta)) }
    }

    /// Copies the private keys that are missing on the host.
    fn put_keys(&self, host: &Host) -> Result<(), StepError> {
        let node = &host.target.node;
        let lacking: Vec<String> =
            host.target.keys.iter().filter(|key| !host.facts.keys.contains(*key)).cloned().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        self.context.events.step(node, format!("putting {} private keys in place", lacking.len()));
        let keys = (self.context.keys)(node, &lacking).map_err(StepError::Keys)?;
        keys::put(&*host.remote, keys)
    }

    /// Lets the host fetch from its substituters, and returns the paths that remain to be sent.
    fn substitute(&self, host: &Host, delta: &Delta) -> Result<Delta, StepError> {
        let node = &host.target.node;
        if delta.paths.is_empty() {
            return Ok(Delta::default());
        }
        self.context.events.step(node, format!("fetching {} paths from its own substituters", delta.paths.len()));
        let left = substitute::fetch(&*host.remote, delta)?;
        let fetched = delta.paths.len() - left.paths.len();
        self.context
            .events
            .node(node, EventKind::Note { text: format!("fetched {fetched} of {} paths", delta.paths.len()) });
        Ok(left)
    }
}

impl Delivery {
    /// Selects the hosts that serve slices to others, and starts their servers.
    async fn begin(deploy: &Arc<Deploy>, hosts: &Hosts, deltas: Deltas) -> (Arc<Self>, Parts) {
        let threshold = deploy.policy.fan_out.threshold();
        let mut peers = match threshold {
            Some(threshold) => slices::cut(&deltas, &able(deploy, hosts, &deltas), threshold).sharing(),
            None => BTreeSet::new(),
        };
        let token = token().unwrap_or_else(|_| {
            peers.clear();
            String::new()
        });
        let peers_of_run = Peers::new(&deploy.context.locks.claimant().run, &token);
        let mut tasks = JoinSet::new();
        for node in peers {
            let address = deploy.topology().traits.get(&node).and_then(|traits| traits.address);
            let (Some(host), Some(address)) = (hosts.get(&node), address) else { continue };
            let (host, peers) = (Arc::clone(host), peers_of_run.clone());
            tasks.spawn_blocking(move || (node, address, peers.open(&*host.remote, address)));
        }
        let mut addresses = BTreeMap::new();
        for (node, address, opened) in tasks.join_all().await {
            match opened {
                Ok(()) => drop(addresses.insert(node, address)),
                Err(error) => {
                    let text = format!("cannot hand on what it gets: {}", words(&node, &error));
                    deploy.context.events.node(&node, EventKind::Note { text });
                }
            }
        }
        let able = addresses.keys().cloned().collect();
        let parts =
            slices::cut(&deltas, &able, threshold.unwrap_or(Threshold { hosts: usize::MAX, saved: 0, bytes: 0 }));
        let delivery = Self {
            deploy: Arc::clone(deploy),
            hosts: hosts.clone(),
            deltas,
            peers: peers_of_run,
            addresses,
            sent: Mutex::default(),
            received: Mutex::default(),
        };
        (Arc::new(delivery), parts)
    }

    /// Runs the copy. Returns the hosts that have received all missing paths.
    async fn run(self: &Arc<Self>, parts: Parts, report: &mut Report) -> BTreeSet<NodeName> {
        for (node, delta) in self.deltas.iter().filter(|(_, delta)| !delta.paths.is_empty()) {
            self.deploy.context.events.step(node, format!("copying {} paths", delta.paths.len()));
        }
        let mut schedule = Schedule::new(parts);
        let mut tasks = JoinSet::new();
        loop {
            let jobs = if self.deploy.interrupt().is_set() { Vec::new() } else { schedule.begin() };
            for job in jobs {
                let this = Arc::clone(self);
                tasks.spawn_blocking(move || {
                    let result = this.execute(&job);
                    (job, result)
                });
            }
            let Some(ended) = tasks.join_next().await else { break };
            // Jobs do not panic; if one did, its host would not receive anything else.
            let Ok((job, result)) = ended else { continue };
            schedule.ended(&job, self.end_of(&job, result, report));
        }
        let done = schedule.done();
        for node in self.deltas.keys() {
            if done.contains(node) {
                self.arrived(node);
            } else if !report.nodes.contains_key(node) {
                // A failure that the interruption caused is not reported as the host's failure.
                self.deploy.fail(report, node, &StepError::Interrupted);
            }
        }
        done
    }

    /// Returns the end of a job, and reports its failure.
    fn end_of(&self, job: &Job, result: Result<End, StepError>, report: &mut Report) -> End {
        let node = job.host();
        match (job, result) {
            (_, Ok(end)) => return end,
            (_, Err(_)) if self.deploy.interrupt().is_set() => {}
            (Job::Fetch { from, .. }, Err(error)) => {
                let text = format!("cannot fetch from {from}, so it is sent from here: {}", words(node, &error));
                self.deploy.context.events.node(node, EventKind::Note { text });
            }
            (Job::Send { .. }, Err(error)) => self.deploy.fail(report, node, &error),
        }
        End::Failed
    }

    fn execute(&self, job: &Job) -> Result<End, StepError> {
        let gone = || StepError::Unknown { why: "the host is not connected".to_owned() };
        let host = self.hosts.get(job.host()).ok_or_else(gone)?;
        match job {
            Job::Send { paths, slice, .. } => self.send(host, paths, *slice),
            Job::Fetch { from, slice, .. } => self.fetch(host, from, *slice),
        }
    }

    fn send(&self, host: &Host, paths: &[Arc<PathInfo>], slice: Option<usize>) -> Result<End, StepError> {
        let node = host.target.node.clone();
        let (events, interrupt) = (self.deploy.context.events.clone(), self.deploy.interrupt().clone());
        let (before, total) = (self.received(&node).bytes(), self.total(&node));
        let name = node.clone();
        let progress = move |bytes: u64| {
            // The stream is slightly larger than its archives. Only its end proves that it is complete.
            events.node(&name, EventKind::Copied { bytes: (before + bytes).min(total.saturating_sub(1)), total });
            !interrupt.is_set()
        };
        let end = match slice {
            None => copy::send(&*host.remote, paths, progress).map(|_| End::Done)?,
            Some(slice) => {
                let (sent, is_kept) = self.peers.send(&*host.remote, slice, paths, progress)?;
                self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(slice, Arc::new(sent));
                if is_kept { End::Done } else { End::NotKept }
            }
        };
        let bytes: u64 = paths.iter().map(|info| info.size).sum();
        self.count(&node, |received| received.operator += bytes);
        Ok(end)
    }

    fn fetch(&self, host: &Host, from: &NodeName, slice: usize) -> Result<End, StepError> {
        let unknown = || StepError::Unknown { why: "nobody has it".to_owned() };
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner).get(&slice).cloned().ok_or_else(unknown)?;
        let address = *self.addresses.get(from).ok_or_else(unknown)?;
        let is_kept = self.peers.fetch(&*host.remote, slice, &sent, address)?;
        self.count(&host.target.node, |received| *received.peers.entry(from.clone()).or_default() += sent.bytes);
        Ok(if is_kept { End::Done } else { End::NotKept })
    }

    fn total(&self, node: &NodeName) -> u64 {
        self.deltas.get(node).map_or(0, |delta| delta.bytes)
    }

    fn received(&self, node: &NodeName) -> Received {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned().unwrap_or_default()
    }

    /// Counts received bytes, and reports the progress.
    fn count(&self, node: &NodeName, change: impl FnOnce(&mut Received)) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let own = received.entry(node.clone()).or_default();
        change(own);
        let (bytes, total) = (own.bytes(), self.total(node));
        drop(received);
        self.deploy.context.events.node(node, EventKind::Copied { bytes: bytes.min(total), total });
    }

    fn arrived(&self, node: &NodeName) {
        let Received { operator, peers } = self.received(node);
        if operator > 0 || !peers.is_empty() {
            self.deploy.context.events.node(node, EventKind::Arrived { operator, peers });
        }
    }

    /// Stops the servers on all hosts.
    async fn end(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        for node in self.addresses.keys() {
            let Some(host) = self.hosts.get(node).map(Arc::clone) else { continue };
            let this = Arc::clone(self);
            // A host that cannot be reached stops its server by itself.
            tasks.spawn_blocking(move || drop(this.peers.close(&*host.remote)));
        }
        tasks.join_all().await;
    }
}

/// Returns the hosts that can participate: others can reach them, and they have room for the slices in addition to the
/// unpacked store paths.
fn able(deploy: &Deploy, hosts: &Hosts, deltas: &Deltas) -> BTreeSet<NodeName> {
    let has_room = |host: &Host, delta: &Delta| {
        host.facts.store_free.is_none_or(|free| free >= copy::room_for(delta).saturating_add(delta.bytes))
    };
    let is_able = |(node, delta): &(&NodeName, &Arc<Delta>)| {
        deploy.topology().traits.get(*node).is_some_and(|traits| traits.address.is_some())
            && hosts.get(*node).is_some_and(|host| has_room(host, delta))
    };
    deltas.iter().filter(is_able).map(|(node, _)| node.clone()).collect()
}

/// Returns a random token of 128 bits, in hexadecimal.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
