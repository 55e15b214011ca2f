//! Recorded servers: their addresses, and the host keys that they answer with.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, NodeName, RecordedServer};
use machinist_providers::observed::FoundServer;
use machinist_remote::{HostKey, KnownHosts, host_pattern};

use super::Ready;
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
        let private_mac = server.private.first().map(|interface| interface.mac.clone());
        state.servers.insert(node.clone(), RecordedServer { id: server.id.0.clone(), address, private_mac });
        if state == before { Ok(()) } else { self.context.project.record(&state) }
    }

    /// Pins the host key of a server's first system. A key that is pinned already is that of the installed system, unless
    /// the server is new and got the address of an earlier one.
    ///
    /// # Errors
    /// The key cannot be read, or the file not written.
    pub fn pin(&self, node: &NodeName, address: IpAddr, public: Option<String>, new: bool) -> Result<(), Failure> {
        let pattern = host_pattern(&address.to_string(), PORT);
        if !new && !self.known_hosts.keys(&pattern).is_empty() {
            return Ok(());
        }
        let Some(public) = public else { return Ok(()) };
        let key = HostKey::from_openssh(&public).ok_or_else(|| {
            Failure::new(Kind::Failed, format!("{node}: its first host key in certs/ is not readable"))
        })?;
        self.known_hosts.pin(&pattern, key).failed().map(drop)
    }

    /// Waits until the servers answer by SSH with their keys, side by side.
    ///
    /// # Errors
    /// The pinned host keys cannot be read.
    pub fn await_answers(&self, servers: &mut [Ready]) -> Result<(), Failure> {
        let mut cluster = self.cluster.clone();
        self.context.project.state()?.reach_servers(&mut cluster);
        for server in servers.iter() {
            if let Some(node) = cluster.nodes.get_mut(&server.node) {
                node.ssh.port.get_or_insert(PORT);
                node.ssh.user.get_or_insert_with(|| "root".to_owned());
            }
        }
        let connector = connect::connector(&self.context, &cluster, None)?;
        let deadline = Instant::now() + BOOT;
        thread::scope(|scope| {
            for server in servers.iter_mut() {
                let connector = connector.clone();
                scope.spawn(move || {
                    server.answers = self.answers(&server.node, &connector, deadline);
                });
            }
        });
        Ok(())
    }

    fn answers(&self, node: &NodeName, connector: &machinist_rollout::step::Connector, deadline: Instant) -> bool {
        self.context.events.note(node, "waiting until it answers by SSH");
        loop {
            let why = match connector.connect(node) {
                Ok(_) => {
                    self.context.events.note(node, "answers with its host key");
                    return true;
                }
                Err(error) => error,
            };
            // Until cloud-init has run, another host key and no login are normal.
            if Instant::now() >= deadline || self.context.interrupt.is_set() {
                self.context.events.problem(Failure::on(node, Kind::Failed, &why).maybe_hint(why.hint()));
                return false;
            }
            self.context.events.progress(format!("{node}: no answer yet ({})", failure::words(node, &why)));
            thread::sleep(PAUSE);
        }
    }
}
