//! Certificates' directory on disk: the only IO of issuing.

mod write;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use rustix::fs::FlockOperation;
use thiserror::Error;

use crate::{Entry, Tree};

pub use write::{Pair, write};
pub(crate) use write::{remove, replace, replace_key};

/// Maximum size of a file, in bytes. Larger files are foreign and not read.
const LARGEST: u64 = 1 << 20;

/// Reason why the directory could not be read or written. After a failed write every file is old or new.
#[allow(missing_docs, reason = "`path` is the file or directory, `source` the system's error")]
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A file or directory cannot be written.
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Another run holds the lock of the directory.
    #[error("another machinist is writing to {}", .path.display())]
    Busy { path: PathBuf },
}

/// Reads the complete directory. A directory that does not exist counts as empty.
///
/// # Errors
/// Something in it cannot be read. Files with invalid content are entries, not errors.
pub fn read(certs: &Path) -> Result<Tree, StoreError> {
    let mut found = Vec::new();
    match certs.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tree::default()),
        _ => walk(certs, Path::new(""), &mut found)?,
    }
    let entries: Vec<_> = found
        .into_par_iter()
        .map(|(path, kind)| {
            let entry = match kind {
                Kind::File => classify(certs, &path)?,
                Kind::Irregular(kind) => Entry::irregular(&path, kind),
            };
            Ok((path, entry))
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Tree::from_entries(entries))
}

enum Kind {
    File,
    Irregular(&'static str),
}

/// Lists files below the directory. Symbolic links are not followed: all writes stay inside this directory.
fn walk(certs: &Path, directory: &Path, found: &mut Vec<(PathBuf, Kind)>) -> Result<(), StoreError> {
    let absolute = certs.join(directory);
    let failed = |source| StoreError::Read { path: absolute.clone(), source };
    for entry in fs::read_dir(&absolute).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = directory.join(entry.file_name());
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if Entry::is_file_of_ours(&path) {
                found.push((path.clone(), Kind::Irregular("a directory")));
            }
            walk(certs, &path, found)?;
        } else if kind.is_file() {
            found.push((path, Kind::File));
        } else {
            found.push((path, Kind::Irregular(if kind.is_symlink() { "a symbolic link" } else { "not a file" })));
        }
    }
    Ok(())
}

fn classify(certs: &Path, path: &Path) -> Result<Entry, StoreError> {
    let absolute = certs.join(path);
    let failed = |source| StoreError::Read { path: absolute.clone(), source };
    let size = fs::metadata(&absolute).map_err(failed)?.len();
    if size > LARGEST {
        return Ok(Entry::irregular(path, "too large"));
    }
    Ok(Entry::classify(path, &fs::read(&absolute).map_err(failed)?))
}

/// Exclusive lock of the directory for one writer.
pub(crate) struct Lock {
    directory: fs::File,
}

/// A process that another thread starts at this moment keeps a copy of the file descriptor until it executes its
/// program, and a lock that is only closed stays with the copy.
impl Drop for Lock {
    fn drop(&mut self) {
        // Closing right after does the same, only later.
        let _ = rustix::fs::flock(&self.directory, FlockOperation::Unlock);
    }
}

/// Creates the directory if it is missing, and locks it until the lock is dropped.
///
/// # Errors
/// It cannot be created, or another run holds the lock.
pub(crate) fn lock(certs: &Path) -> Result<Lock, StoreError> {
    locked(certs, FlockOperation::NonBlockingLockExclusive)
}

/// Locks like [`lock`], but waits for another run. For brief work.
///
/// # Errors
/// The directory cannot be created.
pub(crate) fn wait_for_lock(certs: &Path) -> Result<Lock, StoreError> {
    locked(certs, FlockOperation::LockExclusive)
}

fn locked(certs: &Path, operation: FlockOperation) -> Result<Lock, StoreError> {
    let failed = |source| StoreError::Write { path: certs.to_owned(), source };
    fs::create_dir_all(certs).map_err(failed)?;
    let directory = fs::File::open(certs).map_err(failed)?;
    match rustix::fs::flock(&directory, operation) {
        Ok(()) => Ok(Lock { directory }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Busy { path: certs.to_owned() }),
        Err(error) => Err(failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::lock;

    #[test]
    fn a_process_that_was_started_meanwhile_does_not_keep_the_lock() {
        let certs = tempfile::tempdir().unwrap();
        let held = lock(certs.path()).unwrap();
        let copy = held.directory.try_clone().unwrap();
        drop(held);
        assert!(lock(certs.path()).is_ok());
        drop(copy);
    }
}
