//! Applies a stage of a rotation. Every step can be repeated: completed work is left unchanged.

use std::path::Path;

use machinist_model::{Cluster, Operator};
use machinist_secrets::{Identities, IdentityError, Recipients};
use thiserror::Error;
use time::OffsetDateTime;

use super::{RECORD, Rotation, Rotations, Stage, Subject, blocks, problem};
use crate::{
    Certificate, Entry, Files, KeyId, Policy, Survey, Tree,
    encryption::PLAIN_TEXT,
    store::{self, Pair, StoreError},
    update::{self, UpdateError, open_key, update},
};

/// Reason why a stage could not be applied. Running it again is safe.
#[allow(
    missing_docs,
    reason = "`file` is relative to the certificates' directory, `what` is the message, `hint` an edit or a command"
)]
#[derive(Debug, Error)]
pub enum RotateError {
    /// The directory cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key or a certificate cannot be created or decrypted.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The subject of the rotation does not exist.
    #[error("{0} does not exist yet")]
    Absent(String),
    /// The files do not match the previous stage.
    #[error("{file}: {what}")]
    Files { file: String, what: String, hint: String },
}

impl RotateError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(StoreError::Busy { .. }) => Some("wait until the other run has finished".to_owned()),
            Self::Store(_) => None,
            Self::Update(error) => error.hint(),
            Self::Absent(_) => Some("`machinist certs gen` creates it".to_owned()),
            Self::Files { hint, .. } => Some(hint.clone()),
        }
    }
}

/// Context for writing a stage.
struct Desk<'a> {
    certs: &'a Path,
    tree: Tree,
    operators: &'a [Operator],
    policy: &'a Policy,
    now: OffsetDateTime,
}

/// Records the stage and updates the directory to match it: certificates that the new authority must sign are issued
/// again. Returns the names of those certificates.
///
/// # Errors
/// The files do not match the previous stage, a key cannot be decrypted, or something cannot be written.
pub fn apply(
    certs: &Path,
    cluster: &Cluster,
    name: &str,
    stage: Stage,
    policy: &Policy,
    now: OffsetDateTime,
    identities: impl Fn() -> Result<Identities, IdentityError>,
) -> Result<Survey, RotateError> {
    let table = crate::table(cluster);
    let Some(subject) = Subject::all(&table).find(|subject| subject.name() == name) else {
        return Err(RotateError::Absent(name.to_owned()));
    };
    {
        let _lock = store::lock(certs)?;
        let desk = Desk { certs, tree: store::read(certs)?, operators: &cluster.operators, policy, now };
        if let Some(problem) = problem(&desk.tree, subject) {
            return Err(RotateError::Files { file: problem.subject, what: problem.what, hint: problem.hint });
        }
        // Unencrypted Secrets rotate from plain text to their first key.
        let from_plain_text =
            subject.is_encryption() && (super::is_plain_text(&table, &desk.tree) || desk.tree.rotation(name).is_some());
        if subject.trusted(&desk.tree).is_empty() && !from_plain_text {
            return Err(RotateError::Absent(subject.files().certificate.display().to_string()));
        }
        if desk.tree.rotation(name).is_none_or(|rotation| rotation.stage != stage) {
            desk.record(name, Some(Rotation { stage, since: now, in_use_since: None }))?;
        }
        match stage {
            Stage::TrustBoth => desk.trust_both(subject)?,
            Stage::SignNew => desk.sign_new(subject, &identities)?,
            Stage::DropOld => desk.drop_old(subject)?,
        }
    }
    Ok(update(certs, cluster, policy, now, identities)?)
}

/// Records that all machines sign with the new key of the pair.
///
/// # Errors
/// The record cannot be written.
pub fn note_in_use(certs: &Path, name: &str, now: OffsetDateTime) -> Result<(), StoreError> {
    let _lock = store::lock(certs)?;
    let mut rotations = recorded(&store::read(certs)?);
    if let Some(rotation) = rotations.0.get_mut(name) {
        rotation.in_use_since = Some(now);
    }
    write(certs, &rotations)
}

fn recorded(tree: &Tree) -> Rotations {
    match tree.get(Path::new(RECORD)) {
        Some(Entry::Rotations(rotations)) => rotations.clone(),
        _ => Rotations::default(),
    }
}

/// Replaces the record of one rotation; `None` removes it.
pub(crate) fn record(certs: &Path, tree: &Tree, name: &str, rotation: Option<Rotation>) -> Result<(), StoreError> {
    let mut rotations = recorded(tree);
    match rotation {
        Some(rotation) => rotations.0.insert(name.to_owned(), rotation),
        None => rotations.0.remove(name),
    };
    write(certs, &rotations)
}

fn write(certs: &Path, rotations: &Rotations) -> Result<(), StoreError> {
    match rotations.to_text() {
        Some(text) => store::replace(certs, Path::new(RECORD), &text),
        None => store::remove(certs, &[RECORD.into()]),
    }
}

impl Desk<'_> {
    fn record(&self, name: &str, rotation: Option<Rotation>) -> Result<(), StoreError> {
        record(self.certs, &self.tree, name, rotation)
    }

    fn text(&self, subject: Subject<'_>) -> Result<String, StoreError> {
        let path = self.certs.join(&subject.files().certificate);
        std::fs::read_to_string(&path).map_err(|source| StoreError::Read { path, source })
    }

    /// Creates the new one and adds it to the trusted ones.
    fn trust_both(&self, subject: Subject<'_>) -> Result<(), RotateError> {
        if subject.trusted(&self.tree).len() > 1 {
            return Ok(());
        }
        let recipients = Recipients::from_operators(self.operators).map_err(UpdateError::from)?;
        let new = match subject {
            Subject::Authority(spec) => update::make_authority(spec, &recipients, self.policy, self.now)?.0,
            Subject::KeyPair(spec) => update::make_key_pair(spec, &recipients, self.policy, None)?,
        };
        let old = if subject.trusted(&self.tree).is_empty() { PLAIN_TEXT.to_owned() } else { self.text(subject)? };
        let text = blocks(&old).concat() + &new.text;
        store::write(self.certs, &[Pair { key: subject.next_key(), text, ..new }])?;
        Ok(())
    }

    /// Moves the new key into the old one's place, and lists the new one first. Verifies the key before the old one is
    /// removed.
    fn sign_new(
        &self,
        subject: Subject<'_>,
        identities: &impl Fn() -> Result<Identities, IdentityError>,
    ) -> Result<(), RotateError> {
        let next = subject.next_key();
        let Some(Some(new)) = self.tree.key(&next) else {
            // Already done, or a key that another program encrypted, without a note that names its public half.
            return match self.tree.get(&next) {
                None => Ok(()),
                Some(_) => Err(wrong(&next, "it does not name the key in it")),
            };
        };
        let files = Files { certificate: subject.files().certificate.clone(), key: next.clone() };
        let identities = identities().map_err(UpdateError::from)?;
        let key = open_key(self.certs, subject.name(), &files, &identities, self.operators)?;
        if key.id() != *new || !subject.trusted(&self.tree).contains(&new) {
            return Err(wrong(&next, "its key is not the new trusted one"));
        }
        let mut texts = blocks(&self.text(subject)?);
        texts.sort_by_key(|block| id(subject, block).as_ref() != Some(new));
        let path = self.certs.join(&next);
        let encrypted = std::fs::read(&path).map_err(|source| StoreError::Read { path, source })?;
        if subject.is_encryption() {
            self.keep_previous(subject, new)?;
        }
        let Files { certificate: public, key } = subject.files().clone();
        store::write(self.certs, &[Pair { key, encrypted, public, text: texts.concat() }])?;
        store::remove(self.certs, &[next])?;
        Ok(())
    }

    /// Copies the previous encryption key: it decrypts existing data until all of it is encrypted again.
    fn keep_previous(&self, subject: Subject<'_>, new: &KeyId) -> Result<(), RotateError> {
        let current = &subject.files().key;
        if self.tree.key(current).flatten().is_none_or(|id| id == new) {
            // Plain text had no key, or an interrupted run has already put the new one in place.
            return Ok(());
        }
        let path = self.certs.join(current);
        let encrypted = std::fs::read(&path).map_err(|source| StoreError::Read { path, source })?;
        Ok(store::replace_key(self.certs, &subject.previous_key(), &encrypted)?)
    }

    /// Keeps only the signing one, and removes the record.
    fn drop_old(&self, subject: Subject<'_>) -> Result<(), RotateError> {
        let first = blocks(&self.text(subject)?).into_iter().next().unwrap_or_default();
        store::replace(self.certs, &subject.files().certificate, &first)?;
        store::remove(self.certs, &[subject.previous_key()])?;
        self.record(subject.name(), None)?;
        Ok(())
    }
}

/// Returns the id of the key in one block.
fn id(subject: Subject<'_>, block: &str) -> Option<KeyId> {
    match subject {
        Subject::Authority(_) => Certificate::parse(block.as_bytes()).ok().map(|certificate| certificate.key_id),
        Subject::KeyPair(_) => KeyId::of_public_pem(block.as_bytes())?.into_iter().next(),
    }
}

fn wrong(file: &Path, what: &str) -> RotateError {
    let file = file.display().to_string();
    let hint = format!("restore {file} from version control");
    RotateError::Files { file, what: what.to_owned(), hint }
}
