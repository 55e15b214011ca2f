//! What an operator's own `ssh` may accept. Pure.

use time::OffsetDateTime;

use super::{Host, REVOKED, SshPublicKey, certificate_file};
use crate::Tree;

/// Keys that vouch for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Authorities: the host has a valid certificate, signed by one of them.
    ByAuthority(Vec<SshPublicKey>),
    /// Its own key only.
    ByKey,
}

/// Returns the keys that vouch for the host. An authority does so only if the host's certificate is for its present key
/// and for all its names: with any other, `ssh` would refuse the host.
#[must_use]
pub fn verified(host: &Host, tree: &Tree, now: OffsetDateTime) -> Verified {
    let authorities = tree.ssh_authority();
    let is_good = tree.host_certificate(&host.node).is_some_and(|certificate| {
        let is_of_key = host.key.is_some() && certificate.key() == host.key;
        let is_signed = authorities.iter().any(|authority| certificate.is_signed_by(authority));
        is_of_key && is_signed && certificate.is_valid_at(now) && certificate.names().is_superset(&host.names)
    });
    if is_good { Verified::ByAuthority(authorities.to_vec()) } else { Verified::ByKey }
}

/// Returns the keys whose certificates must no longer be accepted: those of replaced machines, and of nodes that the
/// cluster no longer has.
#[must_use]
pub fn revoked(hosts: &[Host], tree: &Tree) -> Vec<SshPublicKey> {
    let in_use: Vec<&SshPublicKey> = hosts.iter().filter_map(|host| host.key.as_ref()).collect();
    let of_host = |path: &std::path::Path| hosts.iter().find(|host| certificate_file(&host.node) == path);
    let replaced = tree.host_certificates().filter_map(|(path, certificate)| {
        let key = certificate.key()?;
        // While a host's key is unknown, it may still be the certified one.
        let is_unknown = of_host(path).is_some_and(|host| host.key.is_none());
        (!is_unknown).then_some(key)
    });
    let mut keys: Vec<SshPublicKey> = Vec::new();
    for key in tree.ssh_keys(REVOKED.as_ref()).iter().cloned().chain(replaced) {
        if !in_use.contains(&&key) && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
