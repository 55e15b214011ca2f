//! What is done to one host, one step a file. Each step takes a connection and says what it found or did.

pub mod activate;
pub mod build;
pub mod certificates;
pub mod confirm;
pub mod copy;
pub mod gate;
pub mod keys;
pub mod reboot;
pub(crate) mod room;
pub mod substitute;
pub(crate) mod versions;

use std::{sync::Arc, time::Duration};

use machinist_model::NodeName;
use machinist_remote::{Output, Remote, RemoteError, Request};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{HostFacts, clock, host, outcome::Verdict, target::Target, text::mebibytes};

/// Opens connections to nodes.
pub trait Connect: Send + Sync {
    /// Opens a new connection to the node, never one that is open already.
    ///
    /// # Errors
    /// The node cannot be reached, is another one than before, or lets nobody in.
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError>;
}

/// Opens connections to nodes; cheap to clone.
pub type Connector = Arc<dyn Connect>;

/// Why a step failed on a host.
#[derive(Debug, Error)]
pub enum StepError {
    /// The connection or the command failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// nix failed on this computer.
    #[error(transparent)]
    Nix(#[from] machinist_nix::NixError),
    /// The host lacks what the step needs.
    #[error("the host lacks {what}")]
    Lacks {
        /// What.
        what: String,
        /// What to do.
        hint: String,
    },
    /// The host's store has too little room.
    #[error("/nix/store has {} free, the system needs {}", mebibytes(*.free), mebibytes(*.needed))]
    Full {
        /// Free bytes.
        free: u64,
        /// Bytes to copy.
        needed: u64,
    },
    /// The host's store is damaged.
    #[error("the host's store is damaged: its database has {path}, but that is not on the disk")]
    Corrupt {
        /// The path.
        path: String,
    },
    /// The private key of a certificate is not at hand.
    #[error("{0}")]
    Keys(String),
    /// The host went back to the system that ran before.
    #[error("reverted to the system that ran before: {why}")]
    Reverted {
        /// Why.
        why: String,
        /// The last lines that the failed units logged.
        log: String,
    },
    /// The activation failed and there was no older system to go back to, or going back failed too.
    #[error("not reverted: {why}")]
    Broken {
        /// Why.
        why: String,
        /// The last lines that the failed units logged.
        log: String,
    },
    /// What became of the activation is not known.
    #[error("the verdict is unknown: {why}")]
    Unknown {
        /// Why.
        why: String,
    },
    /// Quorum would be lost.
    #[error("{0}")]
    Quorum(String),
    /// Someone else is changing the node.
    #[error("locked: {0}")]
    Locked(String),
    /// Another machine answers than the node.
    #[error("wrong machine: {0}")]
    OtherMachine(String),
    /// The record of the run cannot be written, so nothing was begun.
    #[error("cannot write the journal of this run")]
    Journal(#[source] std::io::Error),
    /// The person stopped the run.
    #[error("interrupted before anything was activated here")]
    Interrupted,
    /// A gate stayed closed.
    #[error("gate closed: {0}")]
    Gate(String),
    /// It runs the new system, and the reboot that was to follow was not begun.
    #[error("not rebooted: {why}")]
    NotRebooted {
        /// Why.
        why: String,
    },
    /// It was rebooted into the new system, which was confirmed before, and is not back.
    #[error("rebooted, and not back: {why}")]
    NotBack {
        /// Why.
        why: String,
    },
    /// It was rebooted and is back, and something is wrong there.
    #[error("rebooted, and not well: {why}")]
    NotWell {
        /// Why.
        why: String,
        /// What it runs.
        verdict: Verdict,
    },
}

impl StepError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Remote(error) => error.hint(),
            Self::Nix(error) => error.hint(),
            Self::Lacks { hint, .. } => Some(hint.clone()),
            Self::Full { .. } => {
                Some("free some on the host: `nix-collect-garbage --delete-older-than 14d`".to_owned())
            }
            Self::Corrupt { path } => Some(format!(
                "`nix-store --repair-path {path}` on the host fetches it from its caches; from here: `nix-store --dump {path} | \
                 ssh root@HOST nix-store --restore {path}`. Then `nix-store --verify --check-contents` there: more may be damaged"
            )),
            Self::Keys(_) => Some("`machinist certs list` says which certificates there are".to_owned()),
            Self::Reverted { log, .. } | Self::Broken { log, .. } if !log.is_empty() => {
                Some(format!("the last lines of their journal:\n{log}"))
            }
            Self::Unknown { .. } => {
                Some("`machinist status` asks the host; deploying again finishes or reverts".to_owned())
            }
            Self::Quorum(_) => Some("`machinist status` shows the members; bring them back first".to_owned()),
            Self::NotBack { .. } => Some(
                "look at its console; when it is back, the same command goes on with the others, and `machinist rollback` \
                 brings the system before"
                    .to_owned(),
            ),
            Self::NotWell { .. } => {
                Some("`machinist status` asks it; `machinist rollback` brings the system before".to_owned())
            }
            Self::NotRebooted { .. } => Some("the same command tries again".to_owned()),
            Self::OtherMachine(_) => Some(
                "correct `ssh.host` in machines.nix or the line of `state/known_hosts`; of a machine that was installed again, \
                 remove the entry under `machines` in state/cluster.json; a clone needs a machine-id of its own: \
                 `rm /etc/machine-id && systemd-machine-id-setup`"
                    .to_owned(),
            ),
            Self::Locked(_) => Some("wait, or see who it is and what the node does: `machinist unlock`".to_owned()),
            Self::Reverted { .. } | Self::Broken { .. } | Self::Gate(_) | Self::Interrupted | Self::Journal(_) => None,
        }
    }

    /// What the host runs after this error.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Reverted { .. } => Verdict::Reverted,
            Self::Broken { .. } => Verdict::Broken,
            Self::Unknown { .. } => Verdict::Unknown,
            Self::NotRebooted { .. } => Verdict::Confirmed,
            Self::NotWell { verdict, .. } => *verdict,
            Self::NotBack { .. } => Verdict::Away,
            _ => Verdict::Untouched,
        }
    }

    /// Puts a journal in the place of the one that the error carries, if it carries one.
    #[must_use]
    pub(crate) fn with_log(self, journal: String) -> Self {
        match self {
            Self::Reverted { why, .. } => Self::Reverted { why, log: journal },
            Self::Broken { why, .. } => Self::Broken { why, log: journal },
            other => other,
        }
    }

    /// Whether nothing was done because a check said no.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Quorum(_) | Self::Locked(_) | Self::OtherMachine(_) | Self::Full { .. })
    }
}

/// Asks the host what is true.
///
/// # Errors
/// The connection fails.
pub fn gather(remote: &dyn Remote) -> Result<HostFacts, StepError> {
    let asked = OffsetDateTime::now_utc();
    let output = run(remote, "gather facts", host::GATHER, Duration::from_secs(30))?;
    let answered = OffsetDateTime::now_utc();
    let mut facts = HostFacts::parse(&output.stdout_text());
    let milliseconds =
        |time: OffsetDateTime| i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    facts.clock_offset = facts.clock.map(|clock| clock::offset(milliseconds(asked), clock, milliseconds(answered)));
    Ok(facts)
}

/// Runs a script that must succeed.
pub(crate) fn run(remote: &dyn Remote, label: &str, script: &str, bound: Duration) -> Result<Output, RemoteError> {
    remote.run_checked(Request::new(label, script).timeout(bound))
}

/// The host has what the steps need.
pub(crate) fn ready_for_us(facts: &HostFacts, target: &Target) -> Result<(), StepError> {
    let hint = format!("put NixOS there first: `machinist install {}` (it erases the machine's disk)", target.node);
    if let Some(what) = facts.lacks.first() {
        return Err(StepError::Lacks { what: what.clone(), hint });
    }
    if facts.running.is_none() && !target.installs_itself {
        return Err(StepError::Lacks { what: "NixOS: this machine was never installed".to_owned(), hint });
    }
    Ok(())
}
