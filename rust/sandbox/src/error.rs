//! Errors of creating, querying and removing a sandbox, with their hints.

use std::{fmt, io, net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use thiserror::Error as ThisError;

/// An error of a sandbox operation.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The specification is invalid.
    #[error("{reason}")]
    Spec {
        /// The invalid field and its value, led by the machine's name if it belongs to one.
        reason: String,
    },
    /// The caller is not root, which creating namespaces and mounts requires.
    #[error("the sandbox needs root to create namespaces and mounts")]
    NotRoot,
    /// Required programs are not installed.
    #[error("not installed: {}", programs.join(", "))]
    MissingPrograms {
        /// Names of the missing programs.
        programs: Vec<&'static str>,
        /// Debian packages that provide them, sorted, each once.
        packages: Vec<&'static str>,
    },
    /// Every address of the node network is in use, and the operator needs one.
    #[error("network {network} has no free address for the operator")]
    NetworkFull {
        /// The node network, `network.nodes`.
        network: IpNet,
    },
    /// A requested machine has the address of an existing machine that is not requested.
    #[error("machine {machine}: the address {ip} is in use by machine {other} of this sandbox")]
    AddressTaken {
        /// Name of the requested machine.
        machine: String,
        /// Name of the existing machine.
        other: String,
        /// The address of both.
        ip: IpAddr,
    },
    /// The state directory belongs to the sandbox of another network or cluster.
    #[error("{}: the sandbox belongs to cluster {found}, not to {wanted}", state_dir.display())]
    OtherSandbox {
        /// The state directory.
        state_dir: PathBuf,
        /// Cluster and network in the record, as `cluster (network)`.
        found: String,
        /// Requested cluster and network, in the same form.
        wanted: String,
    },
    /// A resource of this name exists that this sandbox did not create.
    #[error("{} exists, but this sandbox did not create it", path.display())]
    NameTaken {
        /// Path of the namespace or control group.
        path: PathBuf,
    },
    /// The sandbox has no machine of this name.
    #[error("the sandbox has no machine `{machine}`")]
    UnknownMachine {
        /// The requested name.
        machine: String,
        /// Names of the machines in the sandbox, sorted.
        known: Vec<String>,
    },
    /// The machine is not running, or has no supervisor to start it again.
    #[error("machine {machine} is not running")]
    NotRunning {
        /// The machine's name.
        machine: String,
    },
    /// The machine has no process of this name.
    #[error("machine {machine}: no process `{process}` is running")]
    NoProcess {
        /// The machine's name.
        machine: String,
        /// The process name, as in `/proc/PID/stat`.
        process: String,
    },
    /// The state directory holds no sandbox.
    #[error("no sandbox in {}", state_dir.display())]
    NoSandbox {
        /// The state directory.
        state_dir: PathBuf,
    },
    /// The record cannot be parsed.
    #[error("{} is damaged or was written by another version", path.display())]
    Record {
        /// Path of `sandbox.json`.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// Another run held the lock for the entire wait.
    #[error("{} is still locked by another run after {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Time this run waited.
        waited: Duration,
    },
    /// The unified control group hierarchy is not mounted.
    #[error("no cgroup2 file system is mounted")]
    NoCgroup2,
    /// apt has no source of the Debian main archive.
    #[error("apt has no source of the Debian main archive")]
    NoMirror,
    /// Building the Debian root failed.
    #[error("mmdebstrap failed to build the Debian root: {reason}\n{log}")]
    Root {
        /// Exit status, or the time limit that it exceeded.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// A file system is mounted in a directory that should be deleted.
    #[error("cannot delete {}: a file system is mounted at {}", path.display(), mount.display())]
    Mounted {
        /// The directory.
        path: PathBuf,
        /// The mount point at or below it.
        mount: PathBuf,
    },
    /// A program failed.
    #[error("{program} failed: {message}")]
    Program {
        /// The command line.
        program: String,
        /// Its error output, or its exit status if it printed nothing.
        message: String,
    },
    /// A machine's container ended before its sshd answered.
    #[error("ended before its sshd answered\n{log}")]
    Ended {
        /// The last lines of its console.
        log: String,
    },
    /// A machine's sshd did not answer in time.
    #[error("sshd did not answer at {ip} port {port} within {} s\n{log}", within.as_secs())]
    NoAnswer {
        /// The machine's address.
        ip: IpAddr,
        /// The port of its sshd.
        port: u16,
        /// Time it was probed.
        within: Duration,
        /// The last lines of its console.
        log: String,
    },
    /// Processes of a machine survived SIGKILL for too long.
    #[error("processes of {} did not end within {} s", path.display(), within.as_secs())]
    StillAlive {
        /// The machine's control group.
        path: PathBuf,
        /// Time this run waited.
        within: Duration,
    },
    /// Several machines failed; all others reached the requested state.
    #[error("{} of {total} machines failed: {}", failures.len(), list(failures))]
    Machines {
        /// The failed machines, sorted by name.
        failures: Vec<MachineFailure>,
        /// Number of requested machines.
        total: usize,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation, as a verb that the path follows: `read`, `set the mode of`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// A machine that failed, with its error.
#[derive(Debug)]
pub struct MachineFailure {
    /// The machine's name.
    pub machine: String,
    /// The machine's error.
    pub error: Box<Error>,
}

impl fmt::Display for MachineFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.machine, self.error)?;
        // The list replaces the chain of causes, which has one line only.
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
    /// Returns advice for the user: a command or an edit.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRoot => Some("run it with sudo, or as root".to_owned()),
            Self::MissingPrograms { packages, .. } => {
                Some(format!("apt-get install --no-install-recommends {}", packages.join(" ")))
            }
            Self::NetworkFull { .. } => Some("widen network.nodes".to_owned()),
            Self::AddressTaken { other, .. } => {
                Some(format!("if {other} is no longer needed, remove the sandbox with `machinist sandbox down`"))
            }
            Self::OtherSandbox { .. } | Self::Record { .. } => {
                Some("remove it with `machinist sandbox down` of the cluster and version that created it".to_owned())
            }
            Self::NameTaken { path } => Some(format!(
                "a sandbox of the same cluster name uses another state directory, or {} was created by hand: remove it \
                 or rename this cluster",
                path.display()
            )),
            Self::UnknownMachine { known, .. } => Some(format!("machines of this sandbox: {}", known.join(", "))),
            Self::NoSandbox { .. } => Some("create it with `machinist sandbox up`".to_owned()),
            Self::NoCgroup2 => Some("mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned()),
            Self::NoMirror => Some(
                "add a Debian source to /etc/apt/sources.list.d and run `apt-get update`; the package \
                 debian-archive-keyring provides the keys"
                    .to_owned(),
            ),
            Self::Root { .. } => {
                Some("check the mirror with `apt-get update` and the free space in the cache directory".to_owned())
            }
            Self::Mounted { mount, .. } => Some(format!("umount {}", mount.display())),
            Self::Machines { failures, .. } => failures.iter().find_map(|failure| failure.error.hint()),
            _ => None,
        }
    }

    /// Returns a closure that adds operation and path to an I/O error.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
