//! Signing of host keys.

use std::{
    borrow::Borrow,
    path::{Path, PathBuf},
};

use machinist_model::Operator;
use machinist_secrets::{Identities, IdentityError, Recipients, decrypt, encrypt_about};
use rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use time::OffsetDateTime;

use super::{Host, HostCertificate, NAME, REVOKED, SshPublicKey, certificate_file, files, plan, revoked};
use crate::{
    Files, Plan, Policy, Tree, UpdateError,
    issue::Validity,
    store::{self, Pair, StoreError},
    update::serial,
};

/// Signs the host keys that have no certificate, or one that is due or has drifted. Makes the authority if it is
/// missing. Returns the actions that were taken.
///
/// `identities` is called only if an existing authority has to sign.
///
/// # Errors
/// The plan has problems, no identity decrypts the authority's key, or something cannot be written.
pub fn update<I: Borrow<Identities>>(
    certs: &Path,
    hosts: &[Host],
    operators: &[Operator],
    policy: &Policy,
    now: OffsetDateTime,
    identities: impl FnOnce() -> Result<I, IdentityError>,
) -> Result<Plan, UpdateError> {
    let before = plan(hosts, &store::read(certs)?, policy, now);
    let is_work = before.makes_any() || policy.prune && !before.orphans.is_empty();
    if !is_work && before.problems.is_empty() {
        return Ok(before);
    }
    // Not refused while another run holds it: an installation signs in the middle of its work.
    let _lock = store::wait_for_lock(certs)?;
    let tree = store::read(certs)?;
    let plan = plan(hosts, &tree, policy, now);
    if !plan.problems.is_empty() {
        return Err(UpdateError::Refused { certs: certs.to_owned(), plan: Box::new(plan) });
    }
    let due: Vec<&Host> = hosts.iter().filter(|host| is_due(&plan, &host.name())).collect();
    let signed = if is_due(&plan, NAME) {
        let (pair, key) = make_authority(files(), operators)?;
        let signed = sign_all(&due, &key, policy, now)?;
        store::write(certs, &[pair])?;
        signed
    } else if due.is_empty() {
        Vec::new()
    } else {
        let identities = identities()?;
        let key = open_authority(certs, &files().key, identities.borrow(), operators)?;
        sign_all(&due, &key, policy, now)?
    };
    // First: a certificate that is gone names no key that could be revoked later.
    write_revoked(certs, hosts, &tree)?;
    for (path, text) in signed {
        let directory = certs.join(&path);
        let directory = machinist_durable::directory_of(&directory);
        let failed = |source| StoreError::Write { path: directory.to_owned(), source };
        machinist_durable::create_directories(directory).map_err(failed)?;
        store::replace(certs, &path, &text)?;
    }
    if policy.prune {
        store::remove(certs, &plan.orphans)?;
    }
    Ok(plan)
}

fn is_due(plan: &Plan, name: &str) -> bool {
    plan.action(name).is_some_and(|action| action.step.makes_one())
}

fn failed(name: &str) -> impl Fn(ssh_key::Error) -> UpdateError {
    move |source| UpdateError::Ssh { name: name.to_owned(), source }
}

/// Generates an authority.
pub(super) fn make_authority(files: Files, operators: &[Operator]) -> Result<(Pair, PrivateKey), UpdateError> {
    let recipients = Recipients::from_operators(operators)?;
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed(NAME))?;
    key.set_comment(NAME);
    let public =
        SshPublicKey::of(key.public_key().key_data()).ok_or_else(|| failed(NAME)(ssh_key::Error::PublicKey))?;
    let private = key.to_openssh(LineEnding::LF).map_err(failed(NAME))?;
    let encrypted = encrypt_about(&recipients, public.id().as_str(), private.as_bytes())
        .map_err(|source| UpdateError::Encrypt { name: NAME.to_owned(), source })?;
    let text = format!("{} {NAME}\n", public.line());
    Ok((Pair { key: files.key, encrypted, public: files.certificate, text }, key))
}

/// Decrypts a private key of the authority.
pub(super) fn open_authority(
    certs: &Path,
    key: &Path,
    identities: &Identities,
    operators: &[Operator],
) -> Result<PrivateKey, UpdateError> {
    let file = certs.join(key);
    let content = std::fs::read(&file).map_err(|source| StoreError::Read { path: file.clone(), source })?;
    let text = decrypt(identities, &file, &content, operators)
        .map_err(|source| UpdateError::Decrypt { name: NAME.to_owned(), source })?;
    PrivateKey::from_openssh(&*text).map_err(failed(NAME))
}

fn sign_all(
    hosts: &[&Host],
    signer: &PrivateKey,
    policy: &Policy,
    now: OffsetDateTime,
) -> Result<Vec<(PathBuf, String)>, UpdateError> {
    let validity = Validity::new(now, policy.leaf_life, None);
    let with_key = hosts.iter().filter_map(|host| Some((host, host.key.as_ref()?)));
    with_key
        .map(|(host, key)| {
            let [number, _] = split(serial());
            let signed = HostCertificate::sign(host, key, signer, number, validity).and_then(|signed| signed.text());
            Ok((certificate_file(&host.node), signed.map_err(failed(&host.name()))?))
        })
        .collect()
}

fn split(serial: [u8; 16]) -> [u64; 2] {
    let number = u128::from_be_bytes(serial);
    [number as u64, (number >> 64) as u64]
}

/// Adds the keys of certificates that are about to be replaced or removed. A key that is in use again is taken off.
fn write_revoked(certs: &Path, hosts: &[Host], tree: &Tree) -> Result<(), StoreError> {
    let keys = revoked(hosts, tree);
    let path = Path::new(REVOKED);
    if keys == tree.ssh_keys(path) {
        return Ok(());
    }
    if keys.is_empty() {
        return store::remove(certs, &[path.to_owned()]);
    }
    let text: String = keys.iter().map(|key| format!("{}\n", key.line())).collect();
    store::replace(certs, path, &text)
}
