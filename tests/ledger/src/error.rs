//! Errors that prevent a verdict.

use std::{io, path::PathBuf};

use thiserror::Error as ThisError;

/// An error that prevents a verdict.
#[derive(Debug, ThisError)]
pub enum LedgerError {
    /// A file operation failed.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Installing the signal handlers failed.
    #[error("cannot install the signal handlers: {0}")]
    Signal(io::Error),
    /// The writer or the reader panicked.
    #[error("the {0} ended unexpectedly")]
    Task(&'static str),
    /// Reading etcd at the end failed.
    #[error("cannot read etcd at the end: {0}")]
    Unreadable(String),
}
