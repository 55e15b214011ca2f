//! Recorded servers: their addresses, and the host keys that they answer with.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, FixedNetwork, Node, NodeName, Provider, RecordedServer};
use machinist_pki::host_key::{self, System};
use machinist_providers::observed::FoundServer;
use machinist_remote::{HostKey, KnownHosts, Remote, host_pattern};

use super::{Ready, first_boot::digest, links};
use crate::{
    connect::{self, KNOWN_HOSTS},
    context::Context,
    failure::{self, Failure, Kind, OrFail as _},
};

/// Time for a server to boot its image and run cloud-init.
const BOOT: Duration = Duration::from_secs(300);
/// Pause between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(2);
/// Port of sshd in a provider's image.
const PORT: u16 = 22;

/// Writer of the record.
pub struct Recorder {
    context: Context,
    cluster: Cluster,
    known_hosts: KnownHosts,
}

impl Recorder {
    /// Opens the record.
    ///
    /// # Errors
    /// The pinned host keys cannot be read.
    pub fn new(context: &Context, cluster: &Cluster) -> Result<Self, Failure> {
        let known_hosts = KnownHosts::load(&context.project.directory.join(KNOWN_HOSTS))
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        Ok(Self { context: context.clone(), cluster: cluster.clone(), known_hosts })
    }

    /// Records a server. Nothing is written if the record is unchanged.
    ///
    /// # Errors
    /// The record cannot be read or written.
    pub fn record(&self, node: &NodeName, server: &FoundServer, address: IpAddr) -> Result<(), Failure> {
        let before = self.context.project.state()?;
        let mut state = before.clone();
        let own = self.cluster.nodes.get(node);
        let interface = server.private.iter().find(|interface| own.is_some_and(|node| node.ip == interface.ip));
        let id = server.id.0.clone();
        let known = before.servers.get(node).filter(|recorded| recorded.id == id);
        let fixed = server.fixed.clone().map(|fixed| links::keep(fixed, known.and_then(|known| known.fixed.as_ref())));
        if let Some(private) = fixed.as_ref().and_then(|fixed| fixed.private.as_ref()) {
            self.refuse_taken(node, private.address)?;
        }
        let private_mac = interface.and_then(|interface| interface.mac.clone());
        let provider = own.map_or(Provider::Hetzner, |node| node.provider);
        state.servers.insert(node.clone(), RecordedServer { id, address, private_mac, provider, fixed });
        if state == before { Ok(()) } else { self.context.project.record(&state) }
    }

    /// Refuses an address that the provider gave, and that machines.nix says of another machine.
    fn refuse_taken(&self, node: &NodeName, address: IpAddr) -> Result<(), Failure> {
        let has = |other: &&Node| {
            other.name != *node && !other.awaits_address() && other.addresses().any(|one| one == address)
        };
        let Some(other) = self.cluster.nodes.values().find(has) else { return Ok(()) };
        let message = format!("{node}: its provider gave it {address}, which machines.nix says of {}", other.name);
        Err(Failure::new(Kind::Refused, message).hint(format!(
            "give {} another address; `machinist destroy {node}` deletes the server meanwhile",
            other.name
        )))
    }

    /// Pins the host key that a server was created with, while its image runs. The label of the server tells that the key
    /// in this directory is that one: the address may have been another server's, and the server another operator's.
    ///
    /// # Errors
    /// A key cannot be read, the file not written, or the server was created with a key that is not in this directory.
    pub fn pin(&self, node: &NodeName, server: &FoundServer, address: IpAddr) -> Result<(), Failure> {
        let project = &self.context.project;
        let key = |system| {
            host_key::public(&project.certs(), node, system)
                .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
        };
        let pattern = host_pattern(&address.to_string(), PORT);
        if let Some(first) = key(System::FirstBoot)?.filter(|first| digest(first) == server.first_key) {
            let unreadable = || Failure::new(Kind::Failed, format!("{node}: its key in certs/ is not readable"));
            let first = HostKey::from_openssh(&first).ok_or_else(unreadable)?;
            return self.known_hosts.pin(&pattern, first).failed().map(drop);
        }
        let installed = key(System::Installed)?.and_then(|line| HostKey::from_openssh(&line));
        let is_installed = installed.is_some_and(|key| self.known_hosts.keys(&pattern).contains(&key));
        if is_installed || project.state()?.machines.contains_key(node) {
            return Ok(());
        }
        Err(Failure::new(Kind::Failed, format!("{node}: its server was created from another directory")).hint(format!(
            "get certs/ and state/ from there; or delete the server with `machinist destroy {node}`, and create another"
        )))
    }

    /// Waits until the servers answer by SSH with their keys, side by side.
    ///
    /// # Errors
    /// The pinned host keys cannot be read.
    pub fn await_answers(&self, servers: &mut [Ready]) -> Result<(), Failure> {
        let mut cluster = self.cluster.clone();
        self.context.project.state()?.reach_servers(&mut cluster);
        connect::as_created(&self.context.project, &mut cluster)?;
        let connector = connect::connector(&self.context, &cluster, None)?;
        let recorded = self.context.project.state()?.servers;
        let deadline = Instant::now() + BOOT;
        let found: Vec<(NodeName, FixedNetwork)> = thread::scope(|scope| {
            let threads: Vec<_> = servers
                .iter_mut()
                .map(|server| {
                    let fixed = recorded.get(&server.node).and_then(|recorded| recorded.fixed.clone());
                    let connector = connector.clone();
                    scope.spawn(move || {
                        let remote = self.answers(&server.node, &connector, deadline);
                        server.answers = remote.is_some();
                        let fixed = fixed.filter(|fixed| !fixed.is_complete())?;
                        let found = links::find(remote?.as_ref(), &fixed);
                        server.answers = found.is_ok();
                        let found = found.map_err(|failure| self.context.events.problem(failure)).ok()?;
                        Some((server.node.clone(), found))
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
        });
        self.record_links(found)
    }

    /// Records the MAC addresses of interfaces.
    fn record_links(&self, found: Vec<(NodeName, FixedNetwork)>) -> Result<(), Failure> {
        if found.is_empty() {
            return Ok(());
        }
        let mut state = self.context.project.state()?;
        for (node, fixed) in found {
            if let Some(server) = state.servers.get_mut(&node) {
                server.fixed = Some(fixed);
            }
        }
        self.context.project.record(&state)
    }

    fn answers(
        &self,
        node: &NodeName,
        connector: &machinist_rollout::step::Connector,
        deadline: Instant,
    ) -> Option<Box<dyn Remote>> {
        self.context.events.note(node, "waiting until it answers by SSH");
        loop {
            let why = match connector.connect(node) {
                Ok(remote) => {
                    self.context.events.note(node, "answers with its host key");
                    return Some(remote);
                }
                Err(error) => error,
            };
            // Until cloud-init has run, another host key and no login are normal.
            if Instant::now() >= deadline || self.context.interrupt.is_set() {
                self.context.events.problem(Failure::on(node, Kind::Failed, &why).maybe_hint(why.hint()));
                return None;
            }
            self.context.events.progress(format!("{node}: no answer yet ({})", failure::words(node, &why)));
            thread::sleep(PAUSE);
        }
    }
}
