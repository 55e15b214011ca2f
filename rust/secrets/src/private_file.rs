//! New files that only their owner can read.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Reason why a private file was not written. The path is unchanged.
#[allow(missing_docs, reason = "`path` is the file, `source` the system's error")]
#[derive(Debug, Error)]
pub enum PrivateFileError {
    /// The file exists already.
    #[error("{} exists, and a private file is never overwritten", .path.display())]
    Exists { path: PathBuf },
    /// The directory or the file is not writable.
    #[error("cannot write {}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Writes a new file with mode 0600. Missing parent directories are created with mode 0700. The file appears complete
/// or not at all.
///
/// # Errors
/// The file exists, or is not writable.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => PrivateFileError::Exists { path: path.to_owned() },
        _ => PrivateFileError::Write { path: path.to_owned(), source },
    };
    let directory = machinist_durable::directory_of(path);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| PrivateFileError::Write { path: directory.to_owned(), source })?;
    if path.symlink_metadata().is_ok() {
        return Err(PrivateFileError::Exists { path: path.to_owned() });
    }
    machinist_durable::create(path, content, 0o600).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::{PrivateFileError, write_private};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read_the_file_and_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a/b/identity.txt");
        write_private(&file, b"secret").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"secret");
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn an_existing_file_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("identity.txt");
        fs::write(&file, "mine").unwrap();
        assert!(matches!(write_private(&file, b"other"), Err(PrivateFileError::Exists { .. })));
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write_private(&file.join("below/identity.txt"), b"x").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", file.join("below").display()));
    }
}
