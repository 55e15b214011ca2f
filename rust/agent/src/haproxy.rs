//! Local haproxy: runtime commands, configuration check, and reload without dropped connections.
//!
//! The master process reloads on a command on its own socket. The agent needs access to that socket only, and the
//! master passes its listening sockets on: no connection is refused meanwhile.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use machinist_mesh::command::{self, Command, Found, Info};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process,
    time::{sleep, timeout},
};

use crate::config::Config;

/// Timeout of a runtime command.
const COMMAND: Duration = Duration::from_secs(5);

/// Timeout of a configuration check: 10,000 servers take a second.
const CHECK: Duration = Duration::from_secs(60);

/// Timeout of a reload, until the new process answers.
const RELOAD: Duration = Duration::from_secs(30);

/// Sockets and program of haproxy.
#[derive(Debug)]
pub struct Haproxy {
    program: PathBuf,
    socket: PathBuf,
    master: PathBuf,
}

/// Error of a request to haproxy.
#[derive(Debug, Error)]
pub enum HaproxyError {
    /// It is not running, or does not answer.
    #[error("haproxy does not answer at {}", socket.display())]
    Unreachable {
        /// Path of haproxy's socket.
        socket: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A command failed.
    #[error("haproxy command `{command}` failed: {answer}")]
    Command {
        /// The command line as sent.
        command: String,
        /// haproxy's response, without surrounding whitespace.
        answer: String,
    },
    /// The configuration check failed.
    #[error("haproxy rejects the configuration: {0}")]
    Configuration(String),
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Program {
        /// Path of the program.
        program: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The new process did not start.
    #[error("haproxy did not start with the new configuration: {0}")]
    Reload(String),
}

impl Haproxy {
    /// Takes the paths from the configuration.
    pub fn new(config: &Config) -> Self {
        Self { program: config.haproxy.clone(), socket: config.haproxy_socket(), master: config.master_socket() }
    }

    /// Returns the process ID and the structure of the running haproxy.
    pub async fn info(&self) -> Result<Info, HaproxyError> {
        let answer = self.send(&self.socket, command::SHOW_INFO).await?;
        command::read_info(&answer).ok_or_else(|| refused(command::SHOW_INFO, &answer))
    }

    /// Returns haproxy's current servers.
    pub async fn servers(&self) -> Result<Found, HaproxyError> {
        let answer = self.send(&self.socket, command::SHOW_SERVERS).await?;
        command::read_servers(&answer).ok_or_else(|| refused(command::SHOW_SERVERS, &answer))
    }

    /// Sends a command and fails unless it succeeds.
    pub async fn command(&self, command: &Command) -> Result<(), HaproxyError> {
        let answer = self.send(&self.socket, &command.line).await?;
        if command.is_done(&answer) { Ok(()) } else { Err(refused(&command.line, &answer)) }
    }

    /// Validates a configuration with haproxy itself.
    pub async fn check(&self, file: &Path) -> Result<(), HaproxyError> {
        let program = |source| HaproxyError::Program { program: self.program.clone(), source };
        let mut command = process::Command::new(&self.program);
        command.args(["-c", "-q", "-f"]).arg(file).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(CHECK, command.output()).await;
        let output = output.map_err(|_| program(io::ErrorKind::TimedOut.into()))?.map_err(program)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let alert = said.lines().find(|line| line.contains("[ALERT]")).unwrap_or("no reason given");
        Err(HaproxyError::Configuration(alert.chars().take(300).collect()))
    }

    /// Reloads haproxy with the installed configuration file. `structure` is its digest, `before` the previous process.
    pub async fn reload(&self, structure: &str, before: Option<u32>) -> Result<Info, HaproxyError> {
        // haproxy 2.6 closes the connection without a response, later versions report the result.
        let answer = self.send(&self.master, "reload").await?;
        if answer.contains("Success=0") {
            let why = answer.lines().find(|line| line.contains("[ALERT]")).unwrap_or("no reason given");
            return Err(HaproxyError::Reload(why.chars().take(300).collect()));
        }
        let begun = Instant::now();
        loop {
            if let Ok(info) = self.info().await
                && Some(info.pid) != before
                && (info.structure == structure || structure.is_empty())
            {
                return Ok(info);
            }
            if begun.elapsed() > RELOAD {
                return Err(HaproxyError::Reload("the previous process still answers".to_owned()));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn send(&self, socket: &Path, line: &str) -> Result<String, HaproxyError> {
        let unreachable = |source| HaproxyError::Unreachable { socket: socket.to_owned(), source };
        let bound = if socket == self.master { RELOAD } else { COMMAND };
        let talk = async {
            let mut stream = UnixStream::connect(socket).await?;
            stream.write_all(line.as_bytes()).await?;
            stream.write_all(b"\n").await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        timeout(bound, talk).await.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?.map_err(unreachable)
    }
}

fn refused(command: &str, answer: &str) -> HaproxyError {
    let answer = answer.trim().chars().take(200).collect();
    HaproxyError::Command { command: command.chars().take(120).collect(), answer }
}
