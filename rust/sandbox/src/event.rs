//! What the sandbox tells while it works; the caller decides how it looks.

use std::{path::PathBuf, time::Duration};

/// One step of the sandbox, in the order in which it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another run of the sandbox holds the lock; this one waits.
    WaitingForLock {
        /// The lock file.
        path: PathBuf,
    },
    /// The Debian root is made: once for this computer, about a minute.
    MakingRoot {
        /// Where it will be.
        path: PathBuf,
    },
    /// The Debian root is there.
    RootMade {
        /// How long it took.
        took: Duration,
    },
    /// A machine is started.
    Starting {
        /// The machine.
        machine: String,
    },
    /// A machine was found half alive, or with other settings, and is started anew; its state is kept.
    Restarting {
        /// The machine.
        machine: String,
        /// Why, as the rest of the sentence "is started anew: ...".
        reason: &'static str,
    },
    /// A machine's sshd answers.
    Ready {
        /// The machine.
        machine: String,
        /// Time since its start.
        took: Duration,
    },
    /// A machine ran already and was left alone.
    Unchanged {
        /// The machine.
        machine: String,
    },
    /// A machine was stopped and removed.
    Removed {
        /// The machine.
        machine: String,
    },
}

/// The receiver of events; called from several threads.
pub type Events<'a> = &'a (dyn Fn(Event) + Sync);
