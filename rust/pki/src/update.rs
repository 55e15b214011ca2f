//! Update of the certificates' directory to match the cluster.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use machinist_model::{Cluster, Operator};
use machinist_secrets::{DecryptError, EncryptError, Identities, IdentityError, RecipientError, Recipients};
use rand_core::{OsRng, RngCore};
use rayon::prelude::*;
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Authority, AuthoritySpec, Certificate, CertificateSpec, Entry, Files, KeyError, KeyPairSpec, Plan, Policy,
    PrivateKey, Table, Tree,
    issue::{self, IssueError, Signer, Validity},
    plan::plan,
    store::{self, Pair, StoreError},
    table::table,
};

/// Needed and existing certificates, and the plan.
#[derive(Debug)]
pub struct Survey {
    /// The certificates' directory.
    pub certs: PathBuf,
    /// The needed certificates.
    pub table: Table,
    /// The existing files.
    pub tree: Tree,
    /// The plan, or after [`update`] the actions that were taken.
    pub plan: Plan,
    /// The time that the plan was made for.
    pub now: OffsetDateTime,
}

/// Reason why certificates were not issued. Nothing was changed, except after a failed write to the store.
#[allow(
    missing_docs,
    reason = "`name` is the certificate's or authority's name, `source` the cause, `certs` the certificates' directory"
)]
#[derive(Debug, Error)]
pub enum UpdateError {
    /// The directory cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan has problems.
    #[error("nothing was changed in {}, because of {count}", .certs.display(), count = problem_count(.plan))]
    Refused {
        certs: PathBuf,
        /// The plan with its problems, at least one.
        plan: Box<Plan>,
    },
    /// No recipient could decrypt the new keys.
    #[error("cannot encrypt private keys for the operators")]
    Recipients(#[from] RecipientError),
    /// No identity could decrypt an authority's key.
    #[error("cannot decrypt the private keys of the authorities")]
    Identity(#[from] IdentityError),
    /// A key cannot be decrypted: an authority's, or a shared one.
    #[error("cannot use the private key of `{name}`")]
    Decrypt { name: String, source: DecryptError },
    /// The file does not contain a key that can sign.
    #[error("the private key of `{name}` cannot sign")]
    AuthorityKey { name: String, source: KeyError },
    /// A key cannot be generated.
    #[error("cannot generate the key of `{name}`")]
    Key { name: String, source: KeyError },
    /// A certificate cannot be issued.
    #[error("cannot issue the certificate `{name}`")]
    Issue { name: String, source: IssueError },
    /// The SSH authority cannot be made or read, or cannot sign.
    #[error("cannot sign `{name}`")]
    Ssh { name: String, source: ssh_key::Error },
    /// A private key cannot be encrypted.
    #[error("cannot encrypt the private key of `{name}`")]
    Encrypt { name: String, source: EncryptError },
}

impl UpdateError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { plan, .. } => plan.problems.first().map(|problem| problem.hint.clone()),
            Self::Recipients(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Decrypt { source, .. } => source.hint(),
            Self::Store(StoreError::Write { .. }) => Some("run it again once the path is writable".to_owned()),
            Self::Store(StoreError::Busy { .. }) => Some("wait until the other run has finished".to_owned()),
            _ => None,
        }
    }
}

fn problem_count(plan: &Plan) -> String {
    let list: Vec<_> = plan.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.what)).collect();
    match list.as_slice() {
        [one] => format!("a problem: {one}"),
        list => format!("{} problems:\n  {}", list.len(), list.join("\n  ")),
    }
}

/// Compares the directory `certs` with what the cluster needs. Changes nothing, and needs no identity.
///
/// # Errors
/// The directory cannot be read. Problems of its content are part of the plan.
pub fn survey(certs: &Path, cluster: &Cluster, policy: &Policy, now: OffsetDateTime) -> Result<Survey, StoreError> {
    let table = table(cluster);
    let tree = store::read(certs)?;
    let plan = plan(&table, &tree, policy, now);
    Ok(Survey { certs: certs.to_owned(), table, tree, plan, now })
}

/// Issues missing certificates and renews those that are due. Returns the files found before and the actions taken.
///
/// `identities` is called only if an existing authority has to sign.
///
/// # Errors
/// The plan has problems, no identity decrypts an authority's key, or something cannot be written.
pub fn update<I: Borrow<Identities>>(
    certs: &Path,
    cluster: &Cluster,
    policy: &Policy,
    now: OffsetDateTime,
    identities: impl FnOnce() -> Result<I, IdentityError>,
) -> Result<Survey, UpdateError> {
    let before = survey(certs, cluster, policy, now)?;
    if let Some(error) = refused(&before) {
        return Err(error);
    }
    if !has_work(&before, policy) {
        return Ok(before);
    }
    let _lock = store::lock(certs)?;
    // Repeated, since another run may have changed the directory in the meantime.
    let survey = survey(certs, cluster, policy, now)?;
    if let Some(error) = refused(&survey) {
        return Err(error);
    }
    if survey.plan.makes_any() {
        store::write(certs, &make(&survey, &cluster.operators, policy, identities)?)?;
    }
    store::remove(certs, &rubbish(&survey, policy))?;
    Ok(survey)
}

fn refused(survey: &Survey) -> Option<UpdateError> {
    (!survey.plan.problems.is_empty())
        .then(|| UpdateError::Refused { certs: survey.certs.clone(), plan: Box::new(survey.plan.clone()) })
}

fn has_work(survey: &Survey, policy: &Policy) -> bool {
    survey.plan.makes_any() || !rubbish(survey, policy).is_empty()
}

/// Returns the leftovers of interrupted runs and, if requested, the files that are no longer in the table.
fn rubbish(survey: &Survey, policy: &Policy) -> Vec<PathBuf> {
    let leftovers =
        survey.tree.entries().filter(|(_, entry)| matches!(entry, Entry::Leftover)).map(|(path, _)| path.to_owned());
    let orphans = survey
        .plan
        .orphans
        .iter()
        .filter(|path| policy.prune && !path.starts_with("authorities") && !path.starts_with("shared"));
    leftovers.chain(orphans.cloned()).collect()
}

/// Issues all keys and certificates of the plan, in memory.
fn make<I: Borrow<Identities>>(
    survey: &Survey,
    operators: &[Operator],
    policy: &Policy,
    identities: impl FnOnce() -> Result<I, IdentityError>,
) -> Result<Vec<Pair>, UpdateError> {
    let recipients = Recipients::from_operators(operators)?;
    let (authorities, leaves, key_pairs) = survey.to_make();
    let (mut pairs, mut signers) = (Vec::new(), BTreeMap::new());
    for spec in authorities {
        let (pair, signer) = make_authority(spec, &recipients, policy, survey.now)?;
        pairs.push(pair);
        signers.insert(spec.authority, signer);
    }
    let signing: BTreeSet<Authority> = leaves.iter().map(|leaf| leaf.authority).collect();
    let closed: Vec<&AuthoritySpec> = survey
        .table
        .authorities
        .iter()
        .filter(|spec| signing.contains(&spec.authority) && !signers.contains_key(&spec.authority))
        .collect();
    // Only the private half exists after an interrupted run. A password that is renewed has both.
    let lone = |spec: &KeyPairSpec| {
        survey.tree.key(&spec.files.key).is_some() && survey.tree.get(&spec.files.certificate).is_none()
    };
    let opened = if closed.is_empty() && !key_pairs.iter().any(|spec| lone(spec)) { None } else { Some(identities()?) };
    let identities = opened.as_ref().map(Borrow::borrow);
    for (spec, identities) in closed.into_iter().zip(std::iter::repeat(identities)) {
        let Some(identities) = identities else { continue };
        signers.extend(open_authority(survey, spec, identities, operators)?);
    }
    let made: Vec<Pair> = leaves
        .into_par_iter()
        .filter_map(|spec| Some(make_leaf(spec, signers.get(&spec.authority)?, &recipients, policy, survey.now)))
        .collect::<Result<_, _>>()?;
    pairs.extend(made);
    for spec in key_pairs {
        let key = match identities {
            Some(identities) if lone(spec) => {
                Some(open_key(&survey.certs, &spec.name, &spec.files, identities, operators)?)
            }
            _ => None,
        };
        pairs.push(make_key_pair(spec, &recipients, policy, key)?);
    }
    Ok(pairs)
}

/// Generates the files of a key pair, from its private half if there is one.
pub(crate) fn make_key_pair(
    spec: &KeyPairSpec,
    recipients: &Recipients,
    policy: &Policy,
    key: Option<PrivateKey>,
) -> Result<Pair, UpdateError> {
    let key = match key {
        Some(key) => key,
        None if spec.used_as.is_control() => {
            PrivateKey::generate_ed25519().map_err(|source| UpdateError::Key { name: spec.name.clone(), source })?
        }
        None => generate(&spec.name, policy)?,
    };
    Ok(Pair {
        key: spec.files.key.clone(),
        encrypted: encrypt(&spec.name, recipients, &key)?,
        public: spec.files.certificate.clone(),
        text: key.public_pem(),
    })
}

impl Survey {
    /// Returns the rows that the plan issues certificates for. Its actions are in the table's order.
    fn to_make(&self) -> (Vec<&AuthoritySpec>, Vec<&CertificateSpec>, Vec<&KeyPairSpec>) {
        let mut actions = self.plan.actions.iter().map(|action| action.step.makes_one());
        let mut due = || actions.next().unwrap_or(false);
        let authorities = self.table.authorities.iter().filter(|_| due()).collect();
        let leaves = self.table.certificates.iter().filter(|_| due()).collect();
        let key_pairs = self.table.key_pairs.iter().filter(|_| due()).collect();
        (authorities, leaves, key_pairs)
    }
}

pub(crate) fn make_authority(
    spec: &AuthoritySpec,
    recipients: &Recipients,
    policy: &Policy,
    now: OffsetDateTime,
) -> Result<(Pair, Signer), UpdateError> {
    let name = || spec.name.clone();
    let failed = |source| UpdateError::Issue { name: name(), source };
    let key = generate(&spec.name, policy)?;
    let validity = Validity::new(now, policy.authority_life, None);
    let text = issue::authority(spec, &key, serial(), validity).map_err(failed)?;
    let encrypted = encrypt(&spec.name, recipients, &key)?;
    let certificate = Certificate::parse(text.as_bytes()).map_err(|error| failed(IssueError::Unreadable(error)))?;
    let signer = Signer::new(certificate, key).map_err(failed)?;
    let pair = Pair { key: spec.files.key.clone(), encrypted, public: spec.files.certificate.clone(), text };
    Ok((pair, signer))
}

fn make_leaf(
    spec: &CertificateSpec,
    signer: &Signer,
    recipients: &Recipients,
    policy: &Policy,
    now: OffsetDateTime,
) -> Result<Pair, UpdateError> {
    let key = generate(&spec.name, policy)?;
    let validity = Validity::new(now, policy.leaf_life, Some(signer.certificate().not_after));
    let text = issue::leaf(spec, &key, signer, serial(), validity)
        .map_err(|source| UpdateError::Issue { name: spec.name.clone(), source })?;
    let encrypted = encrypt(&spec.name, recipients, &key)?;
    Ok(Pair { key: spec.files.key.clone(), encrypted, public: spec.files.certificate.clone(), text })
}

fn generate(name: &str, policy: &Policy) -> Result<PrivateKey, UpdateError> {
    PrivateKey::generate(policy.algorithm).map_err(|source| UpdateError::Key { name: name.to_owned(), source })
}

fn encrypt(name: &str, recipients: &Recipients, key: &PrivateKey) -> Result<Vec<u8>, UpdateError> {
    machinist_secrets::encrypt_about(recipients, key.id().as_str(), key.to_pem().as_bytes())
        .map_err(|source| UpdateError::Encrypt { name: name.to_owned(), source })
}

fn open_authority(
    survey: &Survey,
    spec: &AuthoritySpec,
    identities: &Identities,
    operators: &[Operator],
) -> Result<Option<(Authority, Signer)>, UpdateError> {
    let Some(certificate) = survey.tree.certificate(&spec.files.certificate) else { return Ok(None) };
    let key = open_key(&survey.certs, &spec.name, &spec.files, identities, operators)?;
    let signer = Signer::new(certificate.clone(), key)
        .map_err(|source| UpdateError::Issue { name: spec.name.clone(), source })?;
    Ok(Some((spec.authority, signer)))
}

pub(crate) fn open_key(
    certs: &Path,
    name: &str,
    files: &Files,
    identities: &Identities,
    operators: &[Operator],
) -> Result<PrivateKey, UpdateError> {
    let file = certs.join(&files.key);
    let content = std::fs::read(&file).map_err(|source| StoreError::Read { path: file.clone(), source })?;
    let text = machinist_secrets::decrypt(identities, &file, &content, operators)
        .map_err(|source| UpdateError::Decrypt { name: name.to_owned(), source })?;
    PrivateKey::from_pem(&String::from_utf8_lossy(&text))
        .map_err(|source| UpdateError::AuthorityKey { name: name.to_owned(), source })
}

pub(crate) fn serial() -> [u8; 16] {
    let mut serial = [0; 16];
    OsRng.fill_bytes(&mut serial);
    serial
}
