//! Installs the consumers' variables as root: validates what the agent wrote, and writes one environment file per
//! application.
//!
//! The text arrives on standard input, read by a process with the agent's permissions (modules/mesh/take.nix): so
//! nothing here opens a path that the agent could replace by a link.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use machinist_mesh::environment::{self, VariablesError};
use thiserror::Error;

use crate::files;

/// Longest text that is read, in bytes. 10,000 applications have 2 MB.
const LONGEST: u64 = 8 << 20;

/// Error that leaves the environment files unchanged.
#[derive(Debug, Error)]
pub enum EnvironmentError {
    /// Standard input failed.
    #[error("cannot read the variables")]
    Read(#[source] io::Error),
    /// The text is longer than [`LONGEST`].
    #[error("the variables have more than {LONGEST} bytes")]
    Long,
    /// The text is invalid.
    #[error(transparent)]
    Variables(#[from] VariablesError),
    /// A file cannot be written.
    #[error("cannot write the files in {}", directory.display())]
    Write {
        /// Directory of the environment files.
        directory: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

/// Makes the directory hold the environment files of the text, and no others.
///
/// # Errors
/// The text cannot be read or is invalid, and nothing is changed; or a file cannot be written.
pub fn install(from: impl Read, directory: &Path) -> Result<(), EnvironmentError> {
    let mut text = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut text).map_err(EnvironmentError::Read)?;
    if text.len() as u64 > LONGEST {
        return Err(EnvironmentError::Long);
    }
    let wanted = environment::files(&text)?;
    files::mirror(directory, &wanted)
        .map_err(|source| EnvironmentError::Write { directory: directory.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::install;

    #[test]
    fn an_invalid_text_changes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let good = r#"{"db":{"publish":{"port":8000},"env_prefix":"DB","env":{}}}"#;
        install(good.as_bytes(), directory.path()).unwrap();
        let file = directory.path().join("db.env");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("DB_PORT=8000\n"), "{text}");
        let long = " ".repeat(8 << 20) + "{}";
        for bad in [r#"{"db":{"publish":{"port":8001},"env_prefix":"LD_PRELOAD=x\nDB"}}"#, "", &long] {
            assert!(install(bad.as_bytes(), directory.path()).is_err());
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        install(&b"{}"[..], directory.path()).unwrap();
        assert!(!file.exists());
    }
}
