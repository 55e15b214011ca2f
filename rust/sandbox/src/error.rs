//! Why a sandbox could not be made, asked or removed.

use std::{fmt, io, net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use thiserror::Error as ThisError;

/// Why the sandbox did not do what it was asked.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The sandbox was asked for something that cannot be.
    #[error("{reason}")]
    Spec {
        /// What cannot be, and where.
        reason: String,
    },
    /// Namespaces and mounts are made by root only.
    #[error("the sandbox makes namespaces and mounts, which only root may do")]
    NotRoot,
    /// Programs are missing.
    #[error("not installed: {}", programs.join(", "))]
    MissingPrograms {
        /// The programs.
        programs: Vec<&'static str>,
        /// The Debian packages that have them.
        packages: Vec<&'static str>,
    },
    /// No address of the network is left for the operator.
    #[error("the network {network} is full: no address is left for the operator")]
    NetworkFull {
        /// The node network.
        network: IpNet,
    },
    /// A machine that exists, but is not asked for, has an address of one that is.
    #[error("machine {machine}: the sandbox already has a machine {other} with the address {ip}")]
    AddressTaken {
        /// The machine that was asked for.
        machine: String,
        /// The machine that exists.
        other: String,
        /// The address of both.
        ip: IpAddr,
    },
    /// The sandbox was made for another network or cluster.
    #[error("{}: this is the sandbox of cluster {found}, not of {wanted}", state_dir.display())]
    OtherSandbox {
        /// The state directory.
        state_dir: PathBuf,
        /// Cluster and network of the record.
        found: String,
        /// Cluster and network that were asked for.
        wanted: String,
    },
    /// Something of this name exists that this sandbox has not made.
    #[error("{} exists, and this sandbox has not made it", path.display())]
    NameTaken {
        /// The namespace or control group.
        path: PathBuf,
    },
    /// There is no such machine.
    #[error("the sandbox has no machine `{machine}`")]
    UnknownMachine {
        /// The name that was asked for.
        machine: String,
        /// The machines there are.
        known: Vec<String>,
    },
    /// The machine does not run, or nobody would start it again.
    #[error("machine {machine} does not run")]
    NotRunning {
        /// The machine.
        machine: String,
    },
    /// The machine has no such process.
    #[error("machine {machine}: no process `{process}` runs")]
    NoProcess {
        /// The machine.
        machine: String,
        /// The process' name.
        process: String,
    },
    /// There is no sandbox.
    #[error("there is no sandbox in {}", state_dir.display())]
    NoSandbox {
        /// The state directory.
        state_dir: PathBuf,
    },
    /// The record cannot be read as one.
    #[error("{} is damaged or was written by another version", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Another run holds the lock for too long.
    #[error("{} is still locked by another run after {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long this run waited.
        waited: Duration,
    },
    /// The kernel shows no unified control group hierarchy.
    #[error("no cgroup2 file system is mounted")]
    NoCgroup2,
    /// apt knows no Debian mirror.
    #[error("apt on this computer has no source of the Debian main archive")]
    NoMirror,
    /// The Debian root could not be made.
    #[error("mmdebstrap could not make the Debian root: {reason}\n{log}")]
    Root {
        /// How it ended.
        reason: String,
        /// Its last lines.
        log: String,
    },
    /// A file system is mounted where files are to be deleted.
    #[error("not deleting {}: something is mounted at {}", path.display(), mount.display())]
    Mounted {
        /// What was to be deleted.
        path: PathBuf,
        /// The mount below it.
        mount: PathBuf,
    },
    /// A program failed.
    #[error("{program} failed: {message}")]
    Program {
        /// The command line.
        program: String,
        /// What it said.
        message: String,
    },
    /// A machine ended before its sshd answered.
    #[error("it ended before its sshd answered\n{log}")]
    Ended {
        /// The last lines of its console.
        log: String,
    },
    /// A machine's sshd did not answer.
    #[error("its sshd did not answer at {ip} port {port} within {} s\n{log}", within.as_secs())]
    NoAnswer {
        /// The machine's address.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// How long it was asked.
        within: Duration,
        /// The last lines of its console.
        log: String,
    },
    /// Processes of a machine did not die.
    #[error("processes of {} did not end within {} s", path.display(), within.as_secs())]
    StillAlive {
        /// Its control group.
        path: PathBuf,
        /// How long was waited.
        within: Duration,
    },
    /// Several machines failed; the others are what they should be.
    #[error("{} of {total} machines failed: {}", failures.len(), list(failures))]
    Machines {
        /// Those that failed, by name.
        failures: Vec<MachineFailure>,
        /// All that were asked for.
        total: usize,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// One machine that failed.
#[derive(Debug)]
pub struct MachineFailure {
    /// The machine.
    pub machine: String,
    /// Why.
    pub error: Box<Error>,
}

impl fmt::Display for MachineFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.machine, self.error)?;
        // The list stands in for the chain of causes, which has one line only.
        let mut source = std::error::Error::source(&*self.error);
        while let Some(cause) = source {
            write!(formatter, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

fn list(failures: &[MachineFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// Returns what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRoot => Some("run it with sudo, or as root".to_owned()),
            Self::MissingPrograms { packages, .. } => {
                Some(format!("apt-get install --no-install-recommends {}", packages.join(" ")))
            }
            Self::NetworkFull { .. } => Some("make network.nodes wider".to_owned()),
            Self::AddressTaken { other, .. } => {
                Some(format!("if {other} is no longer wanted, remove the sandbox with `machinist sandbox down`"))
            }
            Self::OtherSandbox { .. } | Self::Record { .. } => {
                Some("remove it with `machinist sandbox down` of the cluster and version that made it".to_owned())
            }
            Self::NameTaken { path } => Some(format!(
                "a sandbox of the same cluster name runs with another state directory, or {} was left by hand: remove it, \
                 or give this cluster another name",
                path.display()
            )),
            Self::UnknownMachine { known, .. } => Some(format!("there are: {}", known.join(", "))),
            Self::NoSandbox { .. } => Some("make it with `machinist sandbox up`".to_owned()),
            Self::NoCgroup2 => Some("mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned()),
            Self::NoMirror => Some(
                "add a Debian source to /etc/apt/sources.list.d and run `apt-get update`; the package \
                 debian-archive-keyring has the keys"
                    .to_owned(),
            ),
            Self::Root { .. } => {
                Some("check the mirror with `apt-get update`, and the space below the cache directory".to_owned())
            }
            Self::Mounted { mount, .. } => Some(format!("umount {}", mount.display())),
            Self::Machines { failures, .. } => failures.iter().find_map(|failure| failure.error.hint()),
            _ => None,
        }
    }

    /// Returns a closure that names the file of an I/O error.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
