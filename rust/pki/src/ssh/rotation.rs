//! Progress of a rotation of the SSH authority, in the stages of the other authorities ([`crate::rotation`]). Who verifies
//! is not a node but people with known_hosts files: they need the new one's line before the nodes present its
//! signatures.

use std::collections::BTreeMap;

use machinist_model::NodeName;

use super::{CERTIFICATE, Host, HostCertificate, SshPublicKey, files, next_key};
use crate::{
    Authority, Tree,
    rotation::{Found, Position, Rotation, Stage},
};

/// Returns the progress of the rotation.
#[must_use]
pub fn position(tree: &Tree, hosts: &[Host]) -> Position {
    let Some(rotation) = tree.rotation(Authority::Ssh.as_str()) else { return Position::Idle };
    let next = tree.key(&next_key());
    let key = tree.key(&files().key).flatten();
    let is_applied = match (rotation.stage, tree.ssh_authority()) {
        (Stage::TrustBoth, [_, new]) => next.flatten() == Some(&new.id()),
        (Stage::SignNew, [new, _]) => next.is_none() && key == Some(&new.id()) && all_signed_by(new, tree, hosts),
        _ => false,
    };
    if is_applied { Position::At(rotation.clone()) } else { Position::Unfinished(rotation.stage) }
}

fn all_signed_by(authority: &SshPublicKey, tree: &Tree, hosts: &[Host]) -> bool {
    let mut certificates =
        hosts.iter().filter(|host| host.key.is_some()).filter_map(|host| tree.host_certificate(&host.node));
    certificates.all(|certificate| certificate.is_signed_by(authority))
}

/// Describes the rotation; `None` if there is none.
#[must_use]
pub fn notice(tree: &Tree, hosts: &[Host]) -> Option<String> {
    let command = "machinist certs rotate-ca ssh";
    match position(tree, hosts) {
        Position::Idle => None,
        Position::Unfinished(stage) => {
            Some(format!("its rotation was interrupted in {stage}: `{command}` continues it"))
        }
        Position::At(Rotation { stage, since, .. }) => {
            let since = since.date();
            Some(format!(
                "it is being rotated: {stage}, since {since}; once that is deployed, `{command}` continues it"
            ))
        }
    }
}

/// Returns the nodes that do not present a certificate of the signing authority yet, each with the reason. Nodes without
/// a certificate present none.
#[must_use]
pub fn behind(hosts: &[Host], tree: &Tree, found: &BTreeMap<NodeName, Found>) -> BTreeMap<NodeName, String> {
    let Some(signing) = tree.ssh_authority().first() else { return BTreeMap::new() };
    let certified = hosts.iter().filter(|host| tree.host_certificate(&host.node).is_some());
    let why = |host: &Host| match found.get(&host.node) {
        None => Some("it was not queried".to_owned()),
        Some(Err(why)) => Some(why.clone()),
        Some(Ok(files)) => {
            let text = files.get(CERTIFICATE).map(String::as_str).unwrap_or_default();
            let is_new = HostCertificate::parse(text.trim().as_bytes()).is_ok_and(|found| found.is_signed_by(signing));
            (!is_new).then(|| format!("its host certificate is not yet signed by {}", signing.id()))
        }
    };
    certified.filter_map(|host| Some((host.node.clone(), why(host)?))).collect()
}
