//! Atomic writes: an interrupted run, or a full disk, leaves every file complete.
//!
//! All files are first written beside their places under temporary names. Only when all of them are on disk are they
//! renamed, a private key before its certificate. A key without its certificate, or with an older one, is a state that
//! the plan detects and repairs.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use machinist_durable::{self as durable, Staged};
use rayon::prelude::*;

use super::StoreError;

/// An encrypted private key and its public half (a certificate, or an SSH public key), to be put in place together.
#[derive(Debug)]
pub struct Pair {
    /// The path of the private key, relative to the certificates' directory.
    pub key: PathBuf,
    /// The encrypted private key. Written with mode 0600.
    pub encrypted: Vec<u8>,
    /// The path of the public half, relative to the certificates' directory.
    pub public: PathBuf,
    /// The public half. Written with mode 0644.
    pub text: String,
}

/// Files under their temporary names, and the directories created for them. Dropping it without [`Writing::commit`]
/// removes all of them.
struct Writing {
    files: Vec<Staged>,
    made: Vec<PathBuf>,
}

/// Puts the pairs in place, in their order.
///
/// # Errors
/// Something cannot be written. If that is detected before the first rename, no file is replaced.
pub fn write(certs: &Path, pairs: &[Pair]) -> Result<(), StoreError> {
    stage(certs, pairs)?.commit()
}

/// Writes everything under temporary names, and waits until it is on disk.
///
/// # Errors
/// Something cannot be written; nothing is left behind.
fn stage(certs: &Path, pairs: &[Pair]) -> Result<Writing, StoreError> {
    let mut writing = Writing { files: Vec::new(), made: Vec::new() };
    let directories: BTreeSet<PathBuf> = pairs
        .iter()
        .flat_map(|pair| [&pair.key, &pair.public])
        .filter_map(|path| certs.join(path).parent().map(Path::to_owned))
        .collect();
    for directory in &directories {
        make_directory(directory, &mut writing.made)?;
    }
    let staged: Vec<[Staged; 2]> = pairs
        .par_iter()
        .map(|pair| {
            let key = temporary(certs.join(&pair.key), &pair.encrypted, 0o600)?;
            let public = temporary(certs.join(&pair.public), pair.text.as_bytes(), 0o644)?;
            Ok([key, public])
        })
        .collect::<Result<_, StoreError>>()?;
    writing.files = staged.into_iter().flatten().collect();
    durable::sync_all(&writing.files)?;
    Ok(writing)
}

impl Writing {
    /// Renames everything into place, each key before its public half.
    ///
    /// # Errors
    /// A file cannot be renamed. The files before it are replaced, those after it unchanged.
    fn commit(mut self) -> Result<(), StoreError> {
        durable::place_all(std::mem::take(&mut self.files))?;
        for directory in std::mem::take(&mut self.made) {
            let parent = durable::directory_of(&directory);
            durable::sync_directory(parent).map_err(|source| StoreError::Write { path: parent.to_owned(), source })?;
        }
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.files.clear();
        for directory in self.made.iter().rev() {
            // A directory that is no longer empty is kept.
            let _ = fs::remove_dir(directory);
        }
    }
}

impl From<durable::Unplaced> for StoreError {
    fn from(durable::Unplaced { path, source }: durable::Unplaced) -> Self {
        Self::Write { path, source }
    }
}

/// Creates the directory and its missing parents, and records the ones that it created.
fn make_directory(directory: &Path, made: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    match fs::create_dir(directory) {
        Ok(()) => {
            made.push(directory.to_owned());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match directory.parent() {
            Some(parent) => {
                make_directory(parent, made)?;
                make_directory(directory, made)
            }
            None => Err(StoreError::Write { path: directory.to_owned(), source: error }),
        },
        Err(source) => Err(StoreError::Write { path: directory.to_owned(), source }),
    }
}

fn temporary(place: PathBuf, content: &[u8], mode: u32) -> Result<Staged, StoreError> {
    durable::stage_unsynced(&place, content, mode).map_err(|source| StoreError::Write { path: place, source })
}

/// Replaces one public file atomically.
///
/// # Errors
/// It cannot be written; it is unchanged.
pub(crate) fn replace(certs: &Path, path: &Path, text: &str) -> Result<(), StoreError> {
    let place = certs.join(path);
    durable::replace(&place, text.as_bytes(), 0o644).map_err(|source| StoreError::Write { path: place, source })
}

/// Replaces one encrypted private key atomically.
///
/// # Errors
/// It cannot be written; it is unchanged.
pub(crate) fn replace_key(certs: &Path, path: &Path, encrypted: &[u8]) -> Result<(), StoreError> {
    let place = certs.join(path);
    durable::replace(&place, encrypted, 0o600).map_err(|source| StoreError::Write { path: place, source })
}

/// Removes files of machinist, and a node's directory once it is empty.
///
/// # Errors
/// A file cannot be removed.
pub(crate) fn remove(certs: &Path, paths: &[PathBuf]) -> Result<(), StoreError> {
    for path in paths {
        let absolute = certs.join(path);
        match fs::remove_file(&absolute) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Write { path: absolute, source });
            }
            _ => {}
        }
        if let Some(directory) = absolute.parent().filter(|_| path.components().count() > 2) {
            // Fails while the directory has other files, as intended.
            let _ = fs::remove_dir(directory);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::{Pair, stage, write};

    fn pair(directory: &str) -> Pair {
        Pair {
            key: format!("{directory}/x.key.age").into(),
            encrypted: b"key".to_vec(),
            public: format!("{directory}/x.pem").into(),
            text: "certificate".to_owned(),
        }
    }

    fn files(root: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_key_is_private_and_the_certificate_public() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &[pair("nodes/a")]).unwrap();
        let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(files(&root.path().join("nodes/a")), ["x.key.age", "x.pem"]);
        assert_eq!((mode("nodes/a/x.key.age"), mode("nodes/a/x.pem")), (0o600, 0o644));
    }

    #[test]
    fn nothing_is_left_when_one_of_many_cannot_be_written() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = write(root.path(), &[pair("nodes/a"), pair("file/b")]).unwrap_err();
        let place = root.path().join("file/b");
        assert_eq!(error.to_string(), format!("cannot write {}", place.display()));
        assert_eq!(files(root.path()), ["file"]);
    }

    #[test]
    fn what_is_not_committed_goes_away() {
        let root = tempfile::tempdir().unwrap();
        let staged = stage(root.path(), &[pair("nodes/a")]).unwrap();
        assert_eq!(files(&root.path().join("nodes/a")).len(), 2);
        drop(staged);
        assert!(files(root.path()).is_empty());
    }
}
