//! Why the ledger could give no verdict.

use std::{io, path::PathBuf};

use thiserror::Error as ThisError;

/// Why the ledger could give no verdict.
#[derive(Debug, ThisError)]
pub enum LedgerError {
    /// A file could not be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signal(io::Error),
    /// The writer or the reader panicked.
    #[error("the {0} ended by itself")]
    Task(&'static str),
    /// At the end, etcd could not be read.
    #[error("etcd could not be read at the end: {0}")]
    Unreadable(String),
}
