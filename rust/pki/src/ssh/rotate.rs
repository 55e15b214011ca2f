//! Applies a stage of a rotation of the SSH authority.

use std::{borrow::Borrow, path::Path};

use machinist_model::Operator;
use machinist_secrets::{Identities, IdentityError};
use time::OffsetDateTime;

use super::{
    Host, NAME, SshPublicKey, files, next_key,
    update::{make_authority, open_authority, update},
};
use crate::{
    Authority, Files, Plan, Policy, Tree,
    rotation::{RotateError, Rotation, Stage, record},
    store::{self, Pair, StoreError},
    update::UpdateError,
};

/// Records the stage and updates the directory to match it. Every step can be repeated.
///
/// # Errors
/// There is no authority, its files do not match the previous stage, or something cannot be written.
pub fn apply<I: Borrow<Identities>>(
    certs: &Path,
    hosts: &[Host],
    operators: &[Operator],
    stage: Stage,
    policy: &Policy,
    now: OffsetDateTime,
    identities: impl Fn() -> Result<I, IdentityError>,
) -> Result<Plan, RotateError> {
    {
        let _lock = store::lock(certs)?;
        let tree = store::read(certs)?;
        if tree.ssh_authority().is_empty() {
            return Err(RotateError::Absent(files().certificate.display().to_string()));
        }
        let name = Authority::Ssh.as_str();
        if tree.rotation(name).is_none_or(|rotation| rotation.stage != stage) {
            record(certs, &tree, name, Some(Rotation { stage, since: now, in_use_since: None }))?;
        }
        match stage {
            Stage::TrustBoth => trust_both(certs, &tree, operators)?,
            Stage::SignNew => sign_new(certs, &tree, operators, &identities)?,
            Stage::DropOld => drop_old(certs)?,
        }
    }
    Ok(update(certs, hosts, operators, policy, now, identities)?)
}

fn text(keys: &[&SshPublicKey]) -> String {
    keys.iter().map(|key| format!("{} {NAME}\n", key.line())).collect()
}

/// Makes the new authority and lists it after the one that signs.
fn trust_both(certs: &Path, tree: &Tree, operators: &[Operator]) -> Result<(), RotateError> {
    let [old] = tree.ssh_authority() else { return Ok(()) };
    let (pair, _) = make_authority(Files { key: next_key(), ..files() }, operators)?;
    let text = text(&[old]) + &pair.text;
    Ok(store::write(certs, &[Pair { text, ..pair }])?)
}

/// Moves the new key into the old one's place, and lists the new one first.
fn sign_new<I: Borrow<Identities>>(
    certs: &Path,
    tree: &Tree,
    operators: &[Operator],
    identities: &impl Fn() -> Result<I, IdentityError>,
) -> Result<(), RotateError> {
    let next = next_key();
    if tree.get(&next).is_none() {
        return Ok(());
    }
    let identities = identities().map_err(UpdateError::from)?;
    // Verified before the old key is removed.
    let key = open_authority(certs, &next, identities.borrow(), operators)?;
    let public = SshPublicKey::of(key.public_key().key_data());
    let (new, old): (Vec<_>, Vec<_>) = tree.ssh_authority().iter().partition(|key| Some(*key) == public.as_ref());
    if new.is_empty() {
        let file = next.display().to_string();
        let hint = format!("restore {file} from version control");
        return Err(RotateError::Files { file, what: "its key is not the new trusted one".to_owned(), hint });
    }
    let path = certs.join(&next);
    let encrypted = std::fs::read(&path).map_err(|source| StoreError::Read { path, source })?;
    let Files { certificate: public, key } = files();
    store::write(certs, &[Pair { key, encrypted, public, text: text(&[new, old].concat()) }])?;
    Ok(store::remove(certs, &[next])?)
}

/// Keeps only the authority that signs. Keys stay revoked: one of a machine that was replaced since the new authority signs
/// has a certificate of that one.
fn drop_old(certs: &Path) -> Result<(), RotateError> {
    let tree = store::read(certs)?;
    let first = tree.ssh_authority().first().into_iter().collect::<Vec<_>>();
    store::replace(certs, &files().certificate, &text(&first))?;
    Ok(record(certs, &tree, Authority::Ssh.as_str(), None)?)
}
