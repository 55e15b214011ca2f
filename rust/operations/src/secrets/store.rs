//! The directory `secrets/`: its files, their lock, and atomic writes.

use std::{
    fmt, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use machinist_durable as durable;
use machinist_model::is_secret_file;
use machinist_sops::{Format, layout::MAX_BYTES};
use rustix::fs::FlockOperation;
use serde::Serialize;

use crate::{
    failure::{Failure, Kind},
    files::FileError,
    project::Project,
};

/// The most files that are read.
const MAX_FILES: usize = 100_000;
/// The deepest directory.
const MAX_DEPTH: usize = 8;
/// The mode of a file. Its values are encrypted.
const MODE: u32 = 0o644;

/// The path of a file below `secrets/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SecretName(String);

impl SecretName {
    /// Parses a path.
    ///
    /// # Errors
    /// It is absolute, leaves the directory, or has other characters than letters, digits, `_`, `-` and `.`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.strip_prefix("secrets/").unwrap_or(text);
        if is_secret_file(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::new(Kind::Input, format!("{text:?} is not a file below secrets/"))
            .hint("use letters, digits, `_`, `-` and `.`, such as db.yaml or web/tls.json"))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the format, by the end of the name.
    #[must_use]
    pub fn format(&self) -> Format {
        Format::of_name(&self.0)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "secrets/{}", self.0)
    }
}

/// The directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

/// Exclusive right to change files, until it is dropped.
pub struct Lock {
    directory: fs::File,
}

/// A process that is being started keeps a copy of the descriptor, and a lock that is only closed stays with the copy.
impl Drop for Lock {
    fn drop(&mut self) {
        let _unlocked = rustix::fs::flock(&self.directory, FlockOperation::Unlock);
    }
}

impl Store {
    /// Returns the directory of a project.
    #[must_use]
    pub fn of(project: &Project) -> Self {
        Self { directory: project.directory.join("secrets") }
    }

    fn path(&self, file: &SecretName) -> PathBuf {
        self.directory.join(file.as_str())
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// Another machinist has it, or the directory cannot be created.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let failed = |source| write_failure(&self.directory, source);
        if !self.directory.is_dir() {
            fs::DirBuilder::new().mode(0o755).recursive(true).create(&self.directory).map_err(failed)?;
            durable::sync_directory(durable::directory_of(&self.directory)).map_err(failed)?;
        }
        let directory = fs::File::open(&self.directory).map_err(failed)?;
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { directory }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let message = format!("another machinist is changing {}", self.directory.display());
                Err(Failure::new(Kind::Refused, message).hint("wait until it is done, or close the other editor"))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Returns true if the file exists.
    ///
    /// # Errors
    /// It is not a regular file.
    pub fn exists(&self, file: &SecretName) -> Result<bool, Failure> {
        match fs::symlink_metadata(self.path(file)) {
            Ok(metadata) if metadata.is_file() => Ok(true),
            Ok(_) => Err(Failure::new(Kind::Input, format!("{file} is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(read_failure(&self.path(file), source)),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It does not exist, is not readable, or is too long.
    pub fn read(&self, file: &SecretName) -> Result<Vec<u8>, Failure> {
        if !self.exists(file)? {
            return Err(Failure::new(Kind::Input, format!("{file} does not exist"))
                .hint("`machinist secrets list` lists the files, `machinist secrets set` creates one"));
        }
        let path = self.path(file);
        let length = fs::metadata(&path).map(|metadata| metadata.len()).unwrap_or_default();
        if length > MAX_BYTES as u64 {
            return Err(Failure::new(Kind::Input, format!("{file} is longer than {} MiB", MAX_BYTES >> 20)));
        }
        fs::read(&path).map_err(|source| read_failure(&path, source))
    }

    /// Returns the files, sorted. Names that start with a dot, such as `.sops.yaml`, are none.
    ///
    /// # Errors
    /// A directory cannot be read, or a name is not one of a file of secrets.
    pub fn files(&self) -> Result<Vec<SecretName>, Failure> {
        let mut files = Vec::new();
        self.walk("", 0, &mut files)?;
        files.sort();
        Ok(files)
    }

    fn walk(&self, below: &str, depth: usize, files: &mut Vec<SecretName>) -> Result<(), Failure> {
        let directory = self.directory.join(below);
        let failed = |source| read_failure(&directory, source);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => return Ok(()),
            Err(source) => return Err(failed(source)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            match entry.file_type().map_err(failed)? {
                kind if kind.is_dir() && depth < MAX_DEPTH => self.walk(&name, depth + 1, files)?,
                kind if kind.is_file() && files.len() < MAX_FILES => files.push(SecretName::parse(&name)?),
                _ => {
                    return Err(Failure::new(
                        Kind::Input,
                        format!("secrets/{name} is not a file, too deep, or one too many"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Replaces a file. The old one stays until the new one is on the disk.
    ///
    /// # Errors
    /// It is not writable, such as on a full disk.
    pub fn write(&self, _: &Lock, file: &SecretName, content: &[u8]) -> Result<(), Failure> {
        let path = self.path(file);
        let failed = |source| write_failure(&path, source);
        durable::create_directories(durable::directory_of(&path)).map_err(failed)?;
        durable::replace(&path, content, MODE).map_err(failed)
    }

    /// Replaces files, all after all of them are on the disk.
    ///
    /// # Errors
    /// One is not writable; those before it may be replaced, each is complete.
    pub fn write_all(&self, _: &Lock, files: &[(SecretName, String)]) -> Result<(), Failure> {
        let mut staged = Vec::with_capacity(files.len());
        for (file, content) in files {
            let path = self.path(file);
            let one = durable::stage_unsynced(&path, content.as_bytes(), MODE);
            staged.push(one.map_err(|source| write_failure(&path, source))?);
        }
        let unplaced = |error: durable::Unplaced| write_failure(&error.path, error.source);
        durable::sync_all(&staged).map_err(unplaced)?;
        durable::place_all(staged).map_err(unplaced)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It does not exist, or cannot be removed.
    pub fn remove(&self, _: &Lock, file: &SecretName) -> Result<(), Failure> {
        self.read(file)?;
        let path = self.path(file);
        let failed = |source| write_failure(&path, source);
        fs::remove_file(&path).map_err(failed)?;
        durable::sync_directory(durable::directory_of(&path)).map_err(failed)
    }
}

fn read_failure(path: &Path, source: io::Error) -> Failure {
    Failure::from_error(Kind::Failed, &FileError::Read { path: path.to_owned(), source })
}

fn write_failure(path: &Path, source: io::Error) -> Failure {
    Failure::from_error(Kind::Failed, &FileError::Write { path: path.to_owned(), source })
        .hint("the old file is unchanged; free space or fix the permissions, then run it again")
}
