//! New recipients: each file gets a new data key, so that a recipient that is gone does not decrypt what comes later.

use std::{collections::BTreeSet, num::NonZero, sync::Mutex, thread};

use machinist_model::Cluster;
use machinist_secrets::Identities;
use machinist_sops::value;
use serde::Serialize;

use super::{
    file::{failure, opened, parse},
    recipients::{self, Readers},
    store::{SecretName, Store},
};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// Files that are on their way to the disk at once.
const BATCH: usize = 64;

/// Which files are encrypted again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those whose recipients are not the wanted ones.
    Stale,
    /// All of them.
    All,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rekeyed {
    /// Files with a new data key.
    pub rekeyed: Vec<SecretName>,
    /// Number of files that had the wanted recipients.
    pub current: usize,
}

/// Encrypts files to their recipients. Files are replaced in batches, so after an interruption the same command does the
/// rest.
///
/// # Errors
/// A file cannot be decrypted or written. Those before it are done.
pub fn rekey(context: &Context, scope: &Scope, only: &[SecretName]) -> Result<Rekeyed, Failure> {
    let cluster = context.project.load()?.cluster;
    let readers = Readers::of(context, &cluster)?;
    let store = Store::of(&context.project);
    let lock = store.lock()?;
    let files = if only.is_empty() { store.files()? } else { only.to_vec() };
    let mut done = Rekeyed::default();
    let mut pending = Vec::new();
    for file in files {
        let (wanted, without) = readers.of_file(&cluster, &file)?;
        recipients::warn(context, &file, &without);
        let wanted: BTreeSet<&str> = wanted.iter().map(|reader| reader.recipient.text()).collect();
        let document = parse(&store, &file)?;
        let found: BTreeSet<&str> = document.metadata().recipients().collect();
        if found == wanted && *scope == Scope::Stale { done.current += 1 } else { pending.push(file) }
    }
    if pending.is_empty() {
        return Ok(done);
    }
    let identities = context.keyring.unlock()?;
    let job = Job { context, cluster: &cluster, readers: &readers, store: &store, identities: &identities };
    for batch in pending.chunks(BATCH) {
        if context.interrupt.is_set() {
            return Err(interrupted(&done, pending.len()));
        }
        let texts = job.encrypted(batch)?;
        store.write_all(&lock, &texts)?;
        done.rekeyed.extend_from_slice(batch);
        context.events.progress(format!("{} of {} files have new keys", done.rekeyed.len(), pending.len()));
    }
    Ok(done)
}

fn interrupted(done: &Rekeyed, all: usize) -> Failure {
    let message = format!("interrupted: {} of {all} files have new keys, the others are unchanged", done.rekeyed.len());
    Failure::new(Kind::Failed, message).hint("run the same command again; without --all it does only the rest")
}

/// What the threads need.
#[derive(Clone, Copy)]
struct Job<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    readers: &'a Readers,
    store: &'a Store,
    identities: &'a Identities,
}

impl Job<'_> {
    /// Encrypts files with new data keys, on all cores. Nothing is written.
    fn encrypted(self, files: &[SecretName]) -> Result<Vec<(SecretName, String)>, Failure> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let size = files.len().div_ceil(cores).max(1);
        let results: Mutex<Vec<Result<(SecretName, String), Failure>>> = Mutex::new(Vec::with_capacity(files.len()));
        thread::scope(|scope| {
            for part in files.chunks(size) {
                let results = &results;
                scope.spawn(move || {
                    let found: Vec<_> = part.iter().map(|file| self.one(file)).collect();
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(found);
                });
            }
        });
        results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().collect()
    }

    fn one(self, file: &SecretName) -> Result<(SecretName, String), Failure> {
        let failed = |error: machinist_sops::SopsError| failure(file, &error);
        let (wanted, _) = self.readers.of_file(self.cluster, file)?;
        let before = opened(parse(self.store, file)?, file, self.identities)?;
        let key = value::new_key().map_err(|error| failed(error.into()))?;
        let slots = recipients::wrapped(&key, &wanted)?;
        let text = before.rekey(&key, &slots, self.context.clock.now()).map_err(failed)?;
        Ok((file.clone(), text))
    }
}
