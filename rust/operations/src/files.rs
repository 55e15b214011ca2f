//! Files of the cluster's directory: errors include their paths, and writes are atomic.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// A file cannot be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// Failed read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        #[source]
        source: io::Error,
    },
    /// Failed write.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        #[source]
        source: io::Error,
    },
}

/// Reads an optional text file. Returns `None` if it does not exist.
pub fn read_optional(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path: path.to_owned(), source }),
    }
}

/// Reads the text files of a directory that have the extension, by name. A missing directory counts as empty.
pub fn read_directory(directory: &Path, ending: &str) -> Result<BTreeMap<String, String>, FileError> {
    let failed = |source| FileError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(ending)
            && let Some(text) = read_optional(&entry.path())?
        {
            files.insert(name, text);
        }
    }
    Ok(files)
}

/// Returns the names of the folders in a directory. A missing directory counts as empty.
pub fn folders(directory: &Path) -> Vec<String> {
    select(directory, |entry| entry.path().is_dir())
}

/// Returns the names of the files in a directory. A missing directory counts as empty.
pub fn names(directory: &Path) -> Vec<String> {
    select(directory, |entry| entry.path().is_file())
}

fn select(directory: &Path, wanted: impl Fn(&fs::DirEntry) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter(wanted).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Writes a world-readable file atomically and durably across a power failure. Creates missing directories.
pub fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    machinist_durable::create_directories(machinist_durable::directory_of(path)).map_err(failed)?;
    machinist_durable::replace(path, text.as_bytes(), 0o644).map_err(failed)
}

/// Removes a file, if it exists.
pub fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(FileError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{read_directory, read_optional, remove, write};

    #[test]
    fn a_file_is_written_whole_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.nix");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(read_optional(&path).unwrap().unwrap(), "two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(read_directory(path.parent().unwrap(), ".nix").unwrap().is_empty());
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let error = write(std::path::Path::new("/proc/nowhere/x"), "").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /proc/nowhere/x");
    }
}
