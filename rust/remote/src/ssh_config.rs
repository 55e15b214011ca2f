//! The operator's SSH configuration as resolved by OpenSSH: `ssh -G HOST`, one process per host and run.
//!
//! No configuration file is parsed here. `Host`, `Match`, `Include`, quotes, `/etc/ssh/ssh_config` and values of any
//! OpenSSH version have the meaning that the installed `ssh` gives them. A `Match exec` runs its command, as it does
//! for `ssh`.

mod answer;
mod program;
mod tokens;

pub(crate) use answer::Answer;
pub(crate) use program::hang_up;
pub(crate) use tokens::{expand, expand_proxy_command};

use crate::clean::last_lines;
use crate::gate::Gate;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time limit of one `ssh -G`. It reads files, and runs the commands of `Match exec`.
const LIMIT: Duration = Duration::from_secs(15);

/// Maximum number of connections to jump hosts that are not logged in yet. sshd drops some from the tenth on
/// (`MaxStartups 10:30:100`), and all machines of a cluster may be behind one jump host.
const JUMPS_AT_ONCE: usize = 8;

/// OpenSSH's file of system-wide settings.
const SYSTEM_FILE: &str = "/etc/ssh/ssh_config";

/// Reason why the operator's SSH configuration cannot be applied to a host.
#[allow(
    missing_docs,
    reason = "`host` is the name passed to ssh, `setting` and `value` are those of the configuration, `remedy` an \
    equivalent setting, `path` the configuration file, `source` the system's error"
)]
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// There is a configuration, but no program to read it.
    #[error("`ssh` is not installed here, but {} may configure connections", path.display())]
    NoProgram { path: PathBuf },
    /// The program cannot be run.
    #[error("cannot run `ssh -G {host}`")]
    Run {
        host: String,
        #[source]
        source: io::Error,
    },
    /// The program exceeded its time limit.
    #[error("`ssh -G {host}` took longer than {} s", limit.as_secs())]
    Timeout { host: String, limit: Duration },
    /// The program rejects the configuration; `message` is the end of its standard error.
    #[error("`ssh -G {host}` failed: {message}")]
    Refused { host: String, message: String },
    /// The output, or a value in it, does not have the documented form; `reason` is the problem.
    #[error("`ssh -G {host}`: {setting}: {reason}")]
    Value { host: String, setting: &'static str, reason: String },
    /// A setting that the SSH library does not support, and that changes the endpoint of a connection.
    #[error("the SSH configuration sets {setting} {value} for {host}, which is not supported")]
    Unsupported { host: String, setting: &'static str, value: String, remedy: &'static str },
}

impl SshConfigError {
    /// Returns the way to fix it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram { .. } => Some("install OpenSSH's client, or remove the configuration".to_owned()),
            Self::Timeout { host, .. } => {
                Some(format!("look for a `Match exec` whose command does not finish: ssh -v -G {host}"))
            }
            Self::Refused { host, .. } | Self::Value { host, .. } => {
                Some(format!("correct the SSH configuration; to reproduce: ssh -G {host}"))
            }
            Self::Unsupported { remedy, .. } => Some((*remedy).to_owned()),
            Self::Run { .. } => None,
        }
    }
}

/// Connection settings known before OpenSSH is queried: the parts of machines.nix that `Match` can see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Query {
    pub host: String,
    pub port: Option<u16>,
    pub user: Option<String>,
}

/// The answer to one query; `None` until OpenSSH has answered.
type Entry = Arc<Mutex<Option<Arc<Answer>>>>;

/// OpenSSH's configuration for any host. Shared by all connections of a run, so that each host is resolved once.
#[derive(Debug)]
pub struct SshConfig {
    program: PathBuf,
    file: Option<PathBuf>,
    answers: Mutex<BTreeMap<Query, Entry>>,
    jumps: Arc<Gate>,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self { program: PathBuf::from("ssh"), file: None, answers: Mutex::default(), jumps: Gate::new(JUMPS_AT_ONCE) }
    }
}

impl SshConfig {
    /// Returns the configuration that `ssh` uses by default: the operator's own and the system's.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Returns the configuration of one file, as `ssh -F FILE` reads it.
    pub fn of_file(file: &Path) -> Arc<Self> {
        Arc::new(Self { file: Some(file.to_owned()), ..Self::default() })
    }

    /// Returns the same with another program in place of `ssh`.
    pub fn with_program(file: &Path, program: &Path) -> Arc<Self> {
        Arc::new(Self { program: program.to_owned(), file: Some(file.to_owned()), ..Self::default() })
    }

    /// Returns the limit on unfinished connections to jump hosts.
    pub(crate) fn jumps(&self) -> &Arc<Gate> {
        &self.jumps
    }

    /// Returns `ssh` with this configuration.
    pub(crate) fn ssh(&self) -> Command {
        let mut command = machinist_environment::program(&self.program);
        if let Some(file) = &self.file {
            command.arg("-F").arg(file);
        }
        command
    }

    /// Returns OpenSSH's answer; `None` if there is neither OpenSSH nor a configuration for it.
    pub(crate) fn look_up(&self, query: &Query) -> Result<Option<Arc<Answer>>, SshConfigError> {
        let entry =
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).entry(query.clone()).or_default().clone();
        // Only this entry stays locked meanwhile: hosts are resolved concurrently, each of them once.
        let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.is_none() {
            *entry = self.resolve(query)?.map(Arc::new);
        }
        Ok(entry.clone())
    }

    fn resolve(&self, query: &Query) -> Result<Option<Answer>, SshConfigError> {
        let host = || query.host.clone();
        let finished = match program::run(&mut self.command(query), LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.existing_file().map_or(Ok(None), |path| Err(SshConfigError::NoProgram { path }));
            }
            Err(source) => return Err(SshConfigError::Run { host: host(), source }),
            Ok(None) => return Err(SshConfigError::Timeout { host: host(), limit: LIMIT }),
            Ok(Some(finished)) => finished,
        };
        if !finished.is_success {
            return Err(SshConfigError::Refused { host: host(), message: last_lines(&finished.stderr, 5) });
        }
        Answer::parse(&query.host, &String::from_utf8_lossy(&finished.stdout)).map(Some)
    }

    fn command(&self, query: &Query) -> Command {
        let mut command = self.ssh();
        command.arg("-G").arg("-o").arg(answer::CONTEXT);
        if let Some(port) = query.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(user) = &query.user {
            command.arg("-l").arg(user);
        }
        command.arg("--").arg(&query.host);
        command
    }

    fn existing_file(&self) -> Option<PathBuf> {
        let own = std::env::home_dir().map(|home| home.join(".ssh/config"));
        let usual = own.into_iter().chain([PathBuf::from(SYSTEM_FILE)]);
        self.file.iter().cloned().chain(usual).find(|path| path.exists())
    }
}

#[cfg(test)]
#[path = "ssh_config_tests.rs"]
mod tests;
