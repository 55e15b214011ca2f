//! How this command reaches the cluster's nodes.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use machinist_model::{
    Cluster, Node, NodeName, Provider,
    selector::{SelectErrorKind, Selection},
};
use machinist_remote::{Destination, Fingerprint, KnownHosts, Remote, RemoteError, Session};
use machinist_rollout::step::{Connect, Connector};

use crate::{
    args::Global,
    command::sandbox,
    failure::{Failure, Kind},
    project::Project,
};

/// Where pinned host keys are, relative to the cluster's directory.
pub const KNOWN_HOSTS: &str = "state/known_hosts";

struct Sessions {
    destinations: BTreeMap<NodeName, Destination>,
    known_hosts: KnownHosts,
    accept: Option<Fingerprint>,
}

impl Connect for Sessions {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let unknown = || Destination::new(node.as_str(), node.as_str());
        let destination = self.destinations.get(node).cloned().unwrap_or_else(unknown);
        let session = Session::connect(&destination, &self.known_hosts, self.accept)?;
        Ok(Box::new(session))
    }
}

/// Returns what opens connections to the nodes of the cluster.
pub fn connector(
    project: &Project,
    cluster: &Cluster,
    global: &Global,
    accept: Option<Fingerprint>,
) -> Result<Connector, Failure> {
    let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS))
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let keys = ssh_keys(global);
    let destinations: BTreeMap<NodeName, Destination> =
        cluster.deployable().map(|node| (node.name.clone(), destination(cluster, node, &keys))).collect();
    let nodes = destinations.iter().map(|(node, destination)| (destination.host_pattern(), node.to_string()));
    let known_hosts = known_hosts.of_nodes(nodes.collect());
    Ok(Arc::new(Sessions { destinations, known_hosts, accept }))
}

/// Returns how the node is reached.
pub fn destination(cluster: &Cluster, node: &Node, keys: &[PathBuf]) -> Destination {
    let mut destination = Destination::new(node.name.as_str(), &node.ssh.host).with_environment();
    destination.port = Some(node.ssh.port);
    destination.user = Some(node.ssh.user.clone());
    destination.identity_files = keys.to_vec();
    if node.provider == Provider::Sandbox {
        destination.namespace = Some(sandbox::operator_namespace(cluster));
    }
    destination
}

/// Returns the private keys that the person named.
pub fn ssh_keys(global: &Global) -> Vec<PathBuf> {
    global.ssh_key.iter().cloned().collect()
}

/// Returns the deployable nodes that the patterns name, sorted; all of them without patterns.
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
