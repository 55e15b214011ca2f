//! Known hosts for an operator's own `ssh`: the cluster's SSH authority, limited to the names and addresses of its
//! nodes, and the pinned keys of nodes without a certificate.

use std::collections::BTreeSet;

use machinist_model::Node;
use machinist_pki::{
    ssh::{self, Host, SshPublicKey, Verified},
    store,
};
use machinist_remote::{KnownHosts, host_pattern};

use crate::{
    certs::hosts,
    connect::KNOWN_HOSTS,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Returns the lines of known_hosts for all machines.
///
/// # Errors
/// The cluster's files are invalid.
pub fn lines(context: &Context) -> Result<String, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let known = KnownHosts::load(&project.directory.join(KNOWN_HOSTS))
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let certs = project.certs();
    let tree = store::read(&certs).failed()?;
    let now = context.clock.now();
    let hosts = hosts::hosts(project, &cluster, &certs)?;
    let mut lines = Vec::new();
    for (node, host) in hosts.iter().filter_map(|host| Some((cluster.nodes.get(&host.node)?, host))) {
        match ssh::verified(host, &tree, now) {
            Verified::ByAuthority(authorities) => {
                lines.extend(trusted(node, host, &authorities));
                // A host that other machines have, too, is in no certificate.
                if !host.names.contains(&node.ssh.host.to_lowercase()) {
                    lines.extend(pinned(node, &BTreeSet::new(), &known));
                }
            }
            Verified::ByKey => lines.extend(pinned(node, &patterns(node, host), &known)),
        }
    }
    let all: BTreeSet<String> =
        hosts.iter().filter_map(|host| Some(patterns(cluster.nodes.get(&host.node)?, host))).flatten().collect();
    lines.extend(revoked(&all, &ssh::revoked(&hosts, &tree)));
    Ok(lines.concat())
}

fn trusted(node: &Node, host: &Host, authorities: &[SshPublicKey]) -> Vec<String> {
    let patterns = join(&patterns(node, host));
    authorities.iter().map(|authority| format!("@cert-authority {patterns} {}\n", authority.line())).collect()
}

/// Returns the pinned keys of the node for the patterns and for the host that it is connected to at.
fn pinned(node: &Node, patterns: &BTreeSet<String>, known: &KnownHosts) -> Vec<String> {
    let pattern = host_pattern(&node.ssh.host, node.ssh.listening_port());
    let keys = known.keys(&pattern);
    let own = Some(pattern).filter(|pattern| is_plain(pattern));
    let patterns = join(&patterns.iter().cloned().chain(own).collect());
    keys.iter().map(|key| format!("{patterns} {}\n", key.to_openssh())).collect()
}

/// Returns the lines of keys that are accepted for no node, whatever certificate they come with.
fn revoked(patterns: &BTreeSet<String>, keys: &[SshPublicKey]) -> Vec<String> {
    let patterns = join(patterns);
    let is_any = !patterns.is_empty();
    keys.iter().filter(|_| is_any).map(|key| format!("@revoked {patterns} {}\n", key.line())).collect()
}

/// Returns the host's names, each in the form that `ssh` looks it up by: with the port, if that is another one than 22.
/// A node's name is there without the port too, for `HostKeyAlias`.
fn patterns(node: &Node, host: &Host) -> BTreeSet<String> {
    let with_port = host.names.iter().map(|name| host_pattern(name, node.ssh.listening_port()));
    with_port.chain([node.name.to_string()]).filter(|pattern| is_plain(pattern)).collect()
}

/// Returns false for a name that known_hosts would read as a pattern or as several names.
fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '!', ',', '|', '#']) && !pattern.contains(char::is_whitespace)
}

fn join(patterns: &BTreeSet<String>) -> String {
    patterns.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use machinist_model::fixtures;
    use machinist_pki::ssh::{Host, SshPublicKey};

    use super::{patterns, revoked, trusted};

    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

    #[test]
    fn an_authority_is_trusted_for_the_names_of_the_node_only() {
        let cluster = fixtures::three_member_etcd();
        let mut node = cluster.nodes.values().find(|node| node.name.as_str() == "casper").unwrap().clone();
        let names = ["casper", "casper.example.com", "10.0.0.2", "a*b", "x,y"];
        let host = Host { node: node.name.clone(), key: None, names: names.map(str::to_owned).into() };
        let authority = SshPublicKey::parse(LINE).unwrap();
        let lines = trusted(&node, &host, std::slice::from_ref(&authority));
        assert_eq!(lines, [format!("@cert-authority 10.0.0.2,casper,casper.example.com {LINE}\n")]);
        node.ssh.port = Some(2222);
        let listed: Vec<String> = patterns(&node, &host).into_iter().collect();
        assert_eq!(listed, ["[10.0.0.2]:2222", "[casper.example.com]:2222", "[casper]:2222", "casper"]);
        assert_eq!(revoked(&BTreeSet::new(), std::slice::from_ref(&authority)), [""; 0]);
        let all = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(revoked(&all, &[authority]), [format!("@revoked a,b {LINE}\n")]);
    }
}
