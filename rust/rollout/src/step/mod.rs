//! Steps on one host, one a file. Each step takes a connection and returns its findings or its result.

pub mod activate;
pub mod boot_once;
pub mod build;
pub mod certificates;
pub mod collect;
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
    /// Opens a new connection to the node, never one that is already open.
    ///
    /// # Errors
    /// The node cannot be reached, has a different host key, or rejects the login.
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError>;
}

/// Shared connector to the nodes; cheap to clone.
pub type Connector = Arc<dyn Connect>;

/// Failure of a step on a host.
#[derive(Debug, Error)]
pub enum StepError {
    /// The connection or the command failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// nix failed on the operator's computer.
    #[error(transparent)]
    Nix(#[from] machinist_nix::NixError),
    /// The host is missing a requirement of the step.
    #[error("the host lacks {what}")]
    Lacks {
        /// The missing requirement.
        what: String,
        /// A remedy.
        hint: String,
    },
    /// The host's store has too little disk space.
    #[error("/nix/store has {} free, the system needs {}", mebibytes(*.free), mebibytes(*.needed))]
    Full {
        /// Free bytes.
        free: u64,
        /// Bytes to copy.
        needed: u64,
    },
    /// The host's store is damaged: a path is in its database and not on its disk.
    #[error("the host's store is damaged: its database has {path}, but that is not on the disk")]
    Corrupt {
        /// The store path.
        path: String,
    },
    /// The private key of a certificate is not available.
    #[error("{0}")]
    Keys(String),
    /// The host reverted to the previous system.
    #[error("reverted to the system that ran before: {why}")]
    Reverted {
        /// The reason.
        why: String,
        /// Last log lines of the failed units.
        log: String,
    },
    /// The activation failed, and so did the revert, or the host had no previous system to revert to.
    #[error("not reverted: {why}")]
    Broken {
        /// The reasons.
        why: String,
        /// Last log lines of the failed units.
        log: String,
    },
    /// The result of the activation is unknown.
    #[error("the verdict is unknown: {why}")]
    Unknown {
        /// The reason, usually a connection error.
        why: String,
    },
    /// The step would break quorum.
    #[error("{0}")]
    Quorum(String),
    /// Another run holds the node's lock.
    #[error("locked: {0}")]
    Locked(String),
    /// The machine that responds is not the node.
    #[error("wrong machine: {0}")]
    OtherMachine(String),
    /// The run's journal cannot be written, so nothing was begun.
    #[error("cannot write the journal of this run")]
    Journal(#[source] std::io::Error),
    /// The operator stopped the run.
    #[error("interrupted before anything was activated here")]
    Interrupted,
    /// A gate stayed closed. Its name and message.
    #[error("gate closed: {0}")]
    Gate(String),
    /// It runs the new system, but the reboot after it was not begun.
    #[error("not rebooted: {why}")]
    NotRebooted {
        /// The reason.
        why: String,
    },
    /// It was rebooted into the new system, which was confirmed before, and did not come back.
    #[error("rebooted, and not back: {why}")]
    NotBack {
        /// The last connection error or state, with the last lines of its console if they are known.
        why: String,
    },
    /// The new system was not installed for the next boot, so the host was not rebooted.
    #[error("not booted: {why}")]
    NotInstalled {
        /// The reason.
        why: String,
    },
    /// It was rebooted into a new system that was not confirmed yet, and did not come back.
    #[error("booted once, and not back: {why}")]
    LostOnTrial {
        /// The last connection error or state, with the last lines of its console if they are known.
        why: String,
    },
    /// It came back after the reboot, but is unhealthy.
    #[error("rebooted, and not well: {why}")]
    NotWell {
        /// The problems found.
        why: String,
        /// The system that it runs.
        verdict: Verdict,
    },
}

impl StepError {
    /// Returns a remedy, if there is one.
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
            Self::LostOnTrial { .. } => Some(
                "with `machinist.boot.fallback` it leaves the boot by itself when its deadline has passed; else look at its \
                 console: a reset boots the system before, which still is the default. Then the same command goes on with \
                 the others"
                    .to_owned(),
            ),
            Self::NotInstalled { .. } => Some("it runs and boots the system before; the same command tries again".to_owned()),
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

    /// Returns what the host runs after this error.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Reverted { .. } => Verdict::Reverted,
            Self::Broken { .. } => Verdict::Broken,
            Self::Unknown { .. } => Verdict::Unknown,
            Self::NotRebooted { .. } => Verdict::Confirmed,
            Self::NotWell { verdict, .. } => *verdict,
            Self::NotBack { .. } | Self::LostOnTrial { .. } => Verdict::Away,
            _ => Verdict::Untouched,
        }
    }

    /// Replaces the journal lines of an error that has some.
    #[must_use]
    pub(crate) fn with_log(self, journal: String) -> Self {
        match self {
            Self::Reverted { why, .. } => Self::Reverted { why, log: journal },
            Self::Broken { why, .. } => Self::Broken { why, log: journal },
            other => other,
        }
    }

    /// Returns true if a check refused the step, so that nothing was done.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Quorum(_) | Self::Locked(_) | Self::OtherMachine(_) | Self::Full { .. })
    }
}

/// Gathers the facts of a host.
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

/// Runs a script that must exit with status 0.
pub(crate) fn run(remote: &dyn Remote, label: &str, script: &str, bound: Duration) -> Result<Output, RemoteError> {
    remote.run_checked(Request::new(label, script).timeout(bound))
}

/// Checks that the host meets the requirements of the steps.
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
