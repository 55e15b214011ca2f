//! Connections to fake hosts, with the faults and actions that a test injects.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::{
    ConnectFailure, Endpoint, FakeRemote, Fault, Output, Remote, RemoteError, Request, Status, Stdin,
};
use machinist_rollout::step::{Connect, keys::DIRECTORY};

use super::{
    host::{FakeHost, Member},
    world::{Answer, World},
};

type Action = Box<dyn FnOnce(&FakeCluster) + Send>;

/// An event right before a request is answered.
enum Event {
    Action(Action),
    Fault(Fault),
}

/// A watch on the `n`th request with a label at a node.
struct Watch {
    node: NodeName,
    label: String,
    left: usize,
    event: Event,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    watches: Mutex<Vec<Watch>>,
    requests: Mutex<Vec<(NodeName, String)>>,
}

/// A cluster of fake hosts. Clones share its state.
#[derive(Clone, Default)]
pub struct FakeCluster(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeCluster {
    /// Returns a cluster of machines that run and boot these systems.
    #[must_use]
    pub fn new(systems: &BTreeMap<NodeName, StorePath>) -> Self {
        let cluster = Self::default();
        cluster.world().hosts = systems.iter().map(|(node, system)| (node.clone(), FakeHost::on(system))).collect();
        cluster
    }

    /// Makes nodes members of a healthy etcd. The first one is the leader.
    #[must_use]
    pub fn with_members(self, members: &[NodeName]) -> Self {
        let mut world = self.world();
        for (id, node) in (1..).zip(members) {
            let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, id));
            world.etcd.addresses.insert(node.clone(), address);
            if let Some(host) = world.hosts.get_mut(node) {
                host.member = Some(Member { id: id.into(), has_data: true, runs: true, hangs: false });
            }
        }
        drop(world);
        self
    }

    /// Returns the state of all hosts, for reading and changing. Requests block until it is released.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.0.world)
    }

    /// Returns a snapshot of one host.
    #[must_use]
    pub fn host(&self, node: &NodeName) -> FakeHost {
        self.world().hosts.get(node).cloned().unwrap_or_default()
    }

    /// Returns a separate cluster in the same state, as after a crash of the operator's computer.
    #[must_use]
    pub fn as_it_is(&self) -> Self {
        let other = Self::default();
        *other.world() = self.world().clone();
        other
    }

    /// Runs an action right before the node answers the `n`th request, from 1, whose label starts with the text.
    pub fn at(&self, node: &NodeName, label: &str, n: usize, action: impl FnOnce(&Self) + Send + 'static) {
        self.watch(node, label, n, Event::Action(Box::new(action)));
    }

    /// Makes the `n`th request fail, from 1, whose label starts with the text.
    pub fn fail(&self, node: &NodeName, label: &str, n: usize, fault: Fault) {
        self.watch(node, label, n, Event::Fault(fault));
    }

    fn watch(&self, node: &NodeName, label: &str, n: usize, event: Event) {
        lock(&self.0.watches).push(Watch { node: node.clone(), label: label.to_owned(), left: n, event });
    }

    /// Returns the nodes that received requests with this label, in their order.
    #[must_use]
    pub fn requested(&self, label: &str) -> Vec<NodeName> {
        let requests = lock(&self.0.requests);
        requests.iter().filter(|(_, found)| found == label).map(|(node, _)| node.clone()).collect()
    }

    /// Records a request, and returns its events.
    fn events(&self, node: &NodeName, label: &str) -> Vec<Event> {
        lock(&self.0.requests).push((node.clone(), label.to_owned()));
        let mut watches = lock(&self.0.watches);
        for watch in watches.iter_mut().filter(|watch| watch.node == *node && label.starts_with(&watch.label)) {
            watch.left = watch.left.saturating_sub(1);
        }
        watches.extract_if(.., |watch| watch.left == 0).map(|watch| watch.event).collect()
    }
}

impl Connect for FakeCluster {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let at = Endpoint { node: node.to_string(), user: "root".to_owned(), host: "192.0.2.1".to_owned(), port: 22 };
        let at = Arc::new(at);
        let host = self.host(node);
        if !host.accepts_connections() {
            let source = ConnectFailure::NoAnswer(Duration::from_secs(10));
            return Err(RemoteError::Connect { at, source });
        }
        let files = FakeRemote::new(node.as_str());
        Ok(Box::new(Connection { at, node: node.clone(), cluster: self.clone(), boot: host.boot(), files }))
    }
}

/// A connection, which a reboot of the host closes.
struct Connection {
    at: Arc<Endpoint>,
    node: NodeName,
    cluster: FakeCluster,
    boot: String,
    /// Receives the files that are put on the host.
    files: FakeRemote,
}

impl Connection {
    fn lost(&self, label: &str) -> RemoteError {
        RemoteError::ConnectionLost {
            at: Arc::clone(&self.at),
            label: label.to_owned(),
            after: Duration::ZERO,
            reason: "the host is gone".to_owned(),
        }
    }

    fn answer(&self, label: &str, script: &str, input: &str) -> Result<Option<Answer>, RemoteError> {
        let mut world = self.cluster.world();
        let host = world.hosts.get(&self.node);
        if host.is_none_or(|host| !host.is_up || host.boot() != self.boot) {
            return Err(self.lost(label));
        }
        Ok(world.answer(&self.node, label, script, input))
    }

    /// Puts files on the host, and records its keys.
    fn put(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        let output = self.files.run(request)?;
        let keys = self
            .files
            .files()
            .into_keys()
            .filter_map(|path| path.strip_prefix(DIRECTORY)?.strip_prefix('/').map(str::to_owned));
        if let Some(host) = self.cluster.world().hosts.get_mut(&self.node) {
            host.keys.extend(keys);
        }
        Ok(output)
    }
}

impl Remote for Connection {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.at
    }

    fn run(&self, mut request: Request<'_>) -> Result<Output, RemoteError> {
        let label = request.label.clone();
        let mut fault = None;
        for event in self.cluster.events(&self.node, &label) {
            match event {
                Event::Action(action) => action(&self.cluster),
                Event::Fault(injected) => fault = Some(injected),
            }
        }
        match fault {
            Some(Fault::ConnectionLost) => return Err(self.lost(&label)),
            Some(Fault::Hang) => {
                return Err(RemoteError::Timeout { at: Arc::clone(&self.at), label, limit: request.timeout });
            }
            Some(Fault::Exit(status)) => return Ok(output(Answer { status, ..Answer::default() })),
            Some(Fault::AnswerLost) | None => {}
        }
        let input = input(&mut request.stdin);
        let answer = match self.answer(&label, &request.script, &input)? {
            Some(answer) => output(answer),
            None => self.put(request)?,
        };
        if fault == Some(Fault::AnswerLost) { Err(self.lost(&label)) } else { Ok(answer) }
    }
}

/// Returns the input as text. A stream, which is not text, is read to its end and dropped.
fn input(stdin: &mut Stdin) -> String {
    match stdin {
        Stdin::None => String::new(),
        Stdin::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Stdin::Reader(reader) => {
            // A broken stream counts as ended: no test inspects its bytes.
            let _read = std::io::copy(reader, &mut std::io::sink());
            String::new()
        }
    }
}

fn output(answer: Answer) -> Output {
    let Answer { status, stdout, stderr } = answer;
    Output { status: Status::Exited(status), stdout: stdout.into_bytes(), stderr: stderr.into_bytes() }
}
