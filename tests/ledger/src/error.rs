//! Errors that prevent a verdict.

use std::{io, path::PathBuf};

use thiserror::Error as ThisError;

/// Reason why the ledger could not give a verdict.
#[allow(missing_docs, reason = "`path` is the file, `source` the system's error")]
#[derive(Debug, ThisError)]
pub enum LedgerError {
    /// A file could not be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The signal handlers cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signal(io::Error),
    /// The writer or the reader panicked.
    #[error("the {0} panicked")]
    Task(&'static str),
    /// The final read of etcd failed.
    #[error("etcd could not be read at the end: {0}")]
    Unreadable(String),
}
