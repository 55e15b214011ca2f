//! Progress events of the sandbox; the caller renders them.

use std::{path::PathBuf, time::Duration};

/// A step of a sandbox operation, sent as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another run holds the lock, and this one waits for it.
    WaitingForLock {
        /// The lock file.
        path: PathBuf,
    },
    /// The Debian root is being built: once per computer, about a minute.
    MakingRoot {
        /// The directory it will have.
        path: PathBuf,
    },
    /// The Debian root is built.
    RootMade {
        /// Time the build took.
        took: Duration,
    },
    /// A machine is being started.
    Starting {
        /// The machine's name.
        machine: String,
    },
    /// A machine runs without supervisor, or with outdated settings, and is restarted with its state kept.
    Restarting {
        /// The machine's name.
        machine: String,
        /// Why it is restarted, such as "its supervisor is gone".
        reason: &'static str,
    },
    /// A machine's sshd answers.
    Ready {
        /// The machine's name.
        machine: String,
        /// Time since its start.
        took: Duration,
    },
    /// A machine was already running with the requested settings.
    Unchanged {
        /// The machine's name.
        machine: String,
    },
    /// A machine was stopped and removed.
    Removed {
        /// The machine's name.
        machine: String,
    },
}

/// Receiver of events, called from several threads.
pub type Events<'a> = &'a (dyn Fn(Event) + Sync);
