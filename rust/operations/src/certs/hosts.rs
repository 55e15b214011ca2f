//! SSH host keys of the cluster's nodes, and their certificates.

use std::{borrow::Borrow, collections::BTreeSet, path::Path};

use machinist_model::{Cluster, Node, NodeName, RecordedState};
use machinist_pki::{
    Plan, Policy, Renewal, UpdateError,
    host_key::{self, System},
    report::{Row, State},
    rotation::RotateError,
    ssh::{self, Host, SshPublicKey},
    store,
};
use machinist_remote::{KnownHosts, host_pattern};
use machinist_secrets::{Identities, IdentityError};
use time::OffsetDateTime;

use crate::{
    connect::KNOWN_HOSTS,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    project::Project,
};

/// Host keys to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signing<'a> {
    /// Those of all nodes.
    All,
    /// Those that have a certificate: a command with another purpose certifies no further node.
    Existing,
    /// The key that one node is installed with.
    Installed(&'a Node),
}

/// Returns the nodes with their host keys and names.
///
/// # Errors
/// The pinned keys, a key in `certs`, or the recorded state is invalid.
pub fn hosts(project: &Project, cluster: &Cluster, certs: &Path) -> Result<Vec<Host>, Failure> {
    let known = KnownHosts::load(&project.directory.join(KNOWN_HOSTS))
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let state = project.state()?;
    let all: Vec<BTreeSet<String>> = cluster.nodes.values().map(|node| names(cluster, node, &state)).collect();
    cluster
        .deployable()
        .map(|node| {
            let key = key_of(node, &known, certs)?;
            Ok(Host { node: node.name.clone(), key, names: unshared(names(cluster, node, &state), &all) })
        })
        .collect()
}

/// Returns the names that only this machine has; `all` has its own, too. A certificate has no port, so a machine behind a
/// forwarded port could pose as the one whose address that is.
fn unshared(names: BTreeSet<String>, all: &[BTreeSet<String>]) -> BTreeSet<String> {
    let holders = |name: &String| all.iter().filter(|names| names.contains(name)).count();
    names.into_iter().filter(|name| holders(name) < 2).collect()
}

/// Returns the host key of the node: the pinned one, which the machine answers with, else the one that it is to be
/// installed with. The key of a provider's image is none: whatever runs on the server can read it.
fn key_of(node: &Node, known: &KnownHosts, certs: &Path) -> Result<Option<SshPublicKey>, Failure> {
    let own = |system| {
        let line = host_key::public(certs, &node.name, system)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        Ok::<_, Failure>(line.as_deref().and_then(SshPublicKey::parse))
    };
    let first_boot = own(System::FirstBoot)?;
    let pattern = host_pattern(&node.ssh.host, node.ssh.listening_port());
    let pinned = known.keys(&pattern).iter().find_map(|key| SshPublicKey::parse(&key.to_openssh()));
    match pinned {
        Some(pinned) if first_boot.as_ref() != Some(&pinned) => Ok(Some(pinned)),
        _ => own(System::Installed),
    }
}

/// Returns the names and addresses under which people reach the node.
fn names(cluster: &Cluster, node: &Node, state: &RecordedState) -> BTreeSet<String> {
    let mut names = BTreeSet::from([node.name.to_string(), cluster.fqdn(&node.name), node.ssh.host.clone()]);
    if !node.awaits_address() {
        names.extend(node.addresses().chain(node.ip6).map(|address| address.to_string()));
    }
    names.extend(state.servers.get(&node.name).map(|server| server.address.to_string()));
    // OpenSSH compares names in lower case.
    names.into_iter().map(|name| name.to_lowercase()).collect()
}

/// Signs host keys.
///
/// # Errors
/// The files do not belong together, or the authority's key cannot be decrypted.
pub(crate) fn sign<I: Borrow<Identities>>(
    context: &Context,
    cluster: &Cluster,
    signing: Signing<'_>,
    policy: &Policy,
    certs: &Path,
    identities: impl FnOnce() -> Result<I, IdentityError>,
) -> Result<Plan, Failure> {
    // Machines of a rehearsal have keys of their own, and the authority is not for them.
    if context.project.stage.is_some() {
        return Ok(Plan::default());
    }
    let mut all = hosts(&context.project, cluster, certs)?;
    let tree = store::read(certs).failed()?;
    for host in &mut all {
        match signing {
            Signing::All => {}
            Signing::Existing if tree.host_certificate(&host.node).is_some() => {}
            Signing::Installed(node) if node.name == host.node => {
                let line = host_key::public(certs, &node.name, System::Installed).failed()?;
                host.key = line.as_deref().and_then(SshPublicKey::parse);
            }
            // A host without a key keeps what it has.
            Signing::Existing | Signing::Installed(_) => host.key = None,
        }
    }
    let now = context.clock.now();
    ssh::update(certs, &all, &cluster.operators, policy, now, identities).map_err(|error| failure(&error))
}

/// Returns the policy without the names of host certificates, which are none of the other plan's.
pub(crate) fn without_hosts(policy: &Policy, hosts: &[Host]) -> Policy {
    let mut policy = policy.clone();
    if let Renewal::Named(names) = &mut policy.renewal {
        let is_host = |name: &String| hosts.iter().any(|host| host.key.is_some() && host.name() == *name);
        names.retain(|name| !is_host(name));
    }
    policy
}

pub(crate) fn failure(error: &UpdateError) -> Failure {
    let kind = match error {
        UpdateError::Refused { .. } | UpdateError::Recipients(_) => Kind::Input,
        _ => Kind::Failed,
    };
    Failure::from_error(kind, error).maybe_hint(error.hint())
}

pub(crate) fn rotate_failure(error: &RotateError) -> Failure {
    let input = matches!(error, RotateError::Files { .. } | RotateError::Absent(_));
    let kind = if input { Kind::Input } else { Kind::Failed };
    Failure::from_error(kind, error).maybe_hint(error.hint())
}

/// Returns the rows of host certificates, the authority's first.
///
/// # Errors
/// The pinned keys or `certs/` cannot be read.
pub fn rows(project: &Project, cluster: &Cluster, now: OffsetDateTime) -> Result<Vec<Row>, Failure> {
    if project.stage.is_some() {
        return Ok(Vec::new());
    }
    let certs = project.certs();
    let hosts = hosts(project, cluster, &certs)?;
    let tree = store::read(&certs).failed()?;
    Ok(ssh::rows(&hosts, &tree, &Policy::default(), now))
}

/// Returns the rows that need attention. A node without a certificate is as it was before there was an authority: its
/// pinned key verifies it.
///
/// # Errors
/// As [`rows`].
pub fn due(project: &Project, cluster: &Cluster, now: OffsetDateTime) -> Result<Vec<Row>, Failure> {
    let mut rows = rows(project, cluster, now)?;
    rows.retain(|row| !matches!(row.state, State::Ok | State::Missing | State::Orphan));
    Ok(rows)
}

/// Describes an unfinished rotation of the authority.
///
/// # Errors
/// As [`rows`].
pub fn rotation(project: &Project, cluster: &Cluster) -> Result<Option<String>, Failure> {
    let certs = project.certs();
    let tree = store::read(&certs).failed()?;
    let notice = ssh::notice(&tree, &hosts(project, cluster, &certs)?);
    Ok(notice.map(|notice| format!("{}: {notice}", ssh::NAME)))
}

/// Describes host certificates that need attention, and an unfinished rotation of their authority.
///
/// # Errors
/// As [`rows`].
pub fn trouble(project: &Project, cluster: &Cluster, now: OffsetDateTime) -> Result<Vec<String>, Failure> {
    let due = due(project, cluster, now)?.into_iter();
    let lines = due.map(|row| format!("certificate {} ({}): {}", row.name, row.state, row.because));
    Ok(rotation(project, cluster)?.into_iter().chain(lines).collect())
}

/// Returns a warning about the host certificates of the nodes. Operators' own `ssh` may refuse a node because of them;
/// machinist does not.
///
/// # Errors
/// As [`rows`].
pub fn warning(
    project: &Project,
    cluster: &Cluster,
    nodes: &[NodeName],
    now: OffsetDateTime,
) -> Result<Option<String>, Failure> {
    let is_of_target =
        |row: &Row| row.node.as_deref().is_none_or(|name| nodes.iter().any(|node| node.as_str() == name));
    let due: Vec<Row> = due(project, cluster, now)?.into_iter().filter(is_of_target).collect();
    let Some((first, rest)) = due.split_first() else { return Ok(None) };
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    let what = format!("{} ({}: {}){more}", first.name, first.state, first.because);
    Ok(Some(format!("SSH host certificates: {what}; `machinist certs gen` renews them, then deploy again")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::unshared;

    #[test]
    fn a_name_of_two_machines_is_in_no_certificate() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let all = [set(&["cp1", "10.13.13.2"]), set(&["b", "10.13.13.2", "10.13.13.9"])];
        assert_eq!(unshared(all[0].clone(), &all), set(&["cp1"]));
        assert_eq!(unshared(all[1].clone(), &all), set(&["10.13.13.9", "b"]));
    }
}
