//! Connections to the cluster's nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    thread,
};

use machinist_model::{
    Cluster, Node, NodeName, Provider, Ssh,
    selector::{SelectErrorKind, Selection},
};
use machinist_pki::host_key::{self, System};
use machinist_remote::{Destination, Fingerprint, KnownHosts, Remote, RemoteError, Session, SshConfig};
use machinist_rollout::step::{Connect, Connector};
use machinist_sandbox::MachineState;

use crate::{
    context::{Connections, Context},
    failure::{Failure, Kind},
    privileges::Listed,
    project::Project,
    sandbox,
};

/// Path of the pinned host keys, relative to the cluster's directory.
pub const KNOWN_HOSTS: &str = "state/known_hosts";

struct Sessions {
    destinations: BTreeMap<NodeName, Destination>,
    /// The other address of a node that moves between two.
    second: BTreeMap<NodeName, Destination>,
    known_hosts: KnownHosts,
    accept: Option<Fingerprint>,
    /// Nodes whose servers were not created yet.
    without_server: BTreeSet<NodeName>,
    /// State of the sandbox, if any machine belongs to one.
    sandbox: Option<PathBuf>,
}

impl Connect for Sessions {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let unknown = || Destination::new(node.as_str(), node.as_str());
        let destination = self.destinations.get(node).cloned().unwrap_or_else(unknown);
        // Its private address may be that of another machine in the operator's own network.
        if self.without_server.contains(node) {
            return Err(RemoteError::NoServer { at: Arc::new(destination.endpoint()?) });
        }
        let mut session = Session::connect(&destination, &self.known_hosts, self.accept);
        if let (Err(RemoteError::Connect { .. }), Some(second)) = (&session, self.second.get(node)) {
            session = Session::connect(second, &self.known_hosts, self.accept).or(session);
        }
        session.map(listed).map_err(|error| self.explain(node, error))
    }
}

/// Returns the connection; while machinist is developed, one that refuses a command which is not listed.
fn listed(session: Session) -> Box<dyn Remote> {
    if cfg!(debug_assertions) { Box::new(Listed(Box::new(session))) } else { Box::new(session) }
}

impl Sessions {
    /// Adds the cause known to the sandbox to the error of a stopped machine; the network does not know it.
    fn explain(&self, node: &NodeName, error: RemoteError) -> RemoteError {
        let RemoteError::Connect { at, .. } = &error else { return error };
        let machine = self.sandbox.as_ref().and_then(|state| {
            let machines = sandbox::machines_of(state)?;
            machines.into_iter().find(|machine| machine.name == node.as_str() && machine.state == MachineState::Stopped)
        });
        match machine {
            Some(machine) => RemoteError::Stopped { at: Arc::clone(at), why: sandbox::why_stopped(&machine) },
            None => error,
        }
    }
}

/// Returns a connector to the nodes of the cluster. A host key with the fingerprint `accept` is pinned.
///
/// # Errors
/// The pinned host keys cannot be read.
pub fn connector(context: &Context, cluster: &Cluster, accept: Option<Fingerprint>) -> Result<Connector, Failure> {
    connector_to(&[], context, cluster, accept)
}

/// Returns a connector that already resolves the addresses of the `targets` in the background.
///
/// # Errors
/// The pinned host keys cannot be read.
pub fn connector_to(
    targets: &[NodeName],
    context: &Context,
    cluster: &Cluster,
    accept: Option<Fingerprint>,
) -> Result<Connector, Failure> {
    let keys = match &context.connections {
        Connections::Given(connector) => return Ok(Connector::clone(connector)),
        Connections::Ssh { keys } => keys,
    };
    let known_hosts = KnownHosts::load(&context.project.directory.join(KNOWN_HOSTS))
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let config = SshConfig::new();
    let project = &context.project;
    let destinations: BTreeMap<NodeName, Destination> = cluster
        .deployable()
        .map(|node| (node.name.clone(), destination(project, cluster, node, keys, &config)))
        .collect();
    let second = cluster
        .deployable()
        .filter_map(|node| Some((node.name.clone(), second(project, cluster, node, keys, &config)?)));
    let second = second.collect();
    for target in targets.iter().filter_map(|target| destinations.get(target).cloned()) {
        // The error recurs, and is reported, when the host is connected to.
        thread::spawn(move || drop(target.endpoint()));
    }
    let in_sandbox = cluster.deployable().any(|node| node.provider == Provider::Sandbox);
    let sandbox = in_sandbox.then(|| sandbox::state_dir(&context.project, cluster));
    let nodes = destinations.iter().map(|(node, destination)| (destination.host_pattern(), node.to_string()));
    let known_hosts = known_hosts.of_nodes(nodes.collect());
    let without_server = without_server(project, cluster)?;
    Ok(Arc::new(Sessions { destinations, second, known_hosts, accept, without_server, sandbox }))
}

/// Returns the nodes whose servers `provision` has not created yet, and that machines.nix gives no SSH host.
///
/// # Errors
/// The recorded state is invalid.
pub fn without_server(project: &Project, cluster: &Cluster) -> Result<BTreeSet<NodeName>, Failure> {
    if project.stage.is_some() || !cluster.nodes.values().any(Node::is_server) {
        return Ok(BTreeSet::new());
    }
    let recorded = project.state()?.servers;
    let missing = cluster
        .nodes
        .values()
        .filter(|node| node.is_server() && node.ssh.host == node.ip.to_string() && !recorded.contains_key(&node.name));
    Ok(missing.map(|node| node.name.clone()).collect())
}

/// Sets the SSH settings of servers that run their provider's image still: root at the public address, on port 22.
///
/// # Errors
/// The recorded state, or a key in certs/, is invalid.
pub fn as_created(project: &Project, cluster: &mut Cluster) -> Result<(), Failure> {
    for (name, server) in project.state()?.servers {
        let first = host_key::public(&project.certs(), &name, System::FirstBoot);
        let first = first.map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        if let (Some(node), Some(_)) = (cluster.nodes.get_mut(&name), first) {
            let user = Some("root".to_owned());
            node.ssh = Ssh { host: server.address.to_string(), port: Some(22), user };
        }
    }
    Ok(())
}

/// Returns the SSH destination of the node.
#[must_use]
pub fn destination(
    project: &Project,
    cluster: &Cluster,
    node: &Node,
    keys: &[PathBuf],
    config: &Arc<SshConfig>,
) -> Destination {
    let bare = Destination::new(node.name.as_str(), &node.ssh.host);
    // Machines of a rehearsal accept its own key only; those of the operator are not read.
    let mut destination = if project.stage.is_some() { bare } else { bare.with_environment(config) };
    destination.port = node.ssh.port;
    destination.user.clone_from(&node.ssh.user);
    destination.identity_files = keys.to_vec();
    if node.provider == Provider::Sandbox {
        destination.namespace = Some(sandbox::operator_namespace(project, cluster));
    }
    destination
}

/// Returns the destination at the node's other address, while it moves. A node that SSH reaches by another name has none.
fn second(
    project: &Project,
    cluster: &Cluster,
    node: &Node,
    keys: &[PathBuf],
    config: &Arc<SshConfig>,
) -> Option<Destination> {
    let host = node.second_ip.filter(|_| node.ssh.host == node.ip.to_string())?.to_string();
    let moved = Node { ssh: Ssh { host, ..node.ssh.clone() }, ..node.clone() };
    Some(destination(project, cluster, &moved, keys, config))
}

/// Connects to a node at its other address, if SSH uses that.
///
/// # Errors
/// It does not answer there, or with another host key.
pub fn at_second(context: &Context, cluster: &Cluster, node: &NodeName) -> Result<(), RemoteError> {
    let Connections::Ssh { keys } = &context.connections else { return Ok(()) };
    let config = SshConfig::new();
    let Some(destination) =
        cluster.nodes.get(node).and_then(|node| second(&context.project, cluster, node, keys, &config))
    else {
        return Ok(());
    };
    let Ok(known_hosts) = KnownHosts::load(&context.project.directory.join(KNOWN_HOSTS)) else { return Ok(()) };
    Session::connect(&destination, &known_hosts, None).map(drop)
}

/// Returns the deployable nodes that match the patterns, sorted; all of them without patterns.
///
/// # Errors
/// A pattern matches no node.
pub fn select(cluster: &Cluster, patterns: Option<&[String]>) -> Result<Vec<NodeName>, Failure> {
    let selection = match patterns {
        Some(patterns) => Selection::resolve(cluster, patterns),
        None => Selection::resolve(cluster, &["--all"]),
    };
    selection.map_err(|error| {
        let kind = match error.kind() {
            SelectErrorKind::Refused => Kind::Refused,
            SelectErrorKind::Input => Kind::Input,
        };
        Failure::from_error(kind, &error).maybe_hint(error.hint())
    })
}
