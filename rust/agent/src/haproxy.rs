//! haproxy on this node: its runtime commands, the check of a configuration, and the reload that drops no connection.
//!
//! The master process reloads when it is told so on its own socket. That takes no right but to that socket, and the master
//! hands its listening sockets on: no connection is refused meanwhile.

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

/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(5);

/// How long the check of a configuration may take: one with 10,000 servers takes a second.
const CHECK: Duration = Duration::from_secs(60);

/// How long a reload may take until the new process answers.
const RELOAD: Duration = Duration::from_secs(30);

/// Where haproxy is.
#[derive(Debug)]
pub struct Haproxy {
    program: PathBuf,
    socket: PathBuf,
    master: PathBuf,
}

/// Why haproxy did not do what was asked.
#[derive(Debug, Error)]
pub enum HaproxyError {
    /// It does not run, or does not answer.
    #[error("haproxy does not answer at {}", socket.display())]
    Away {
        /// Its socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A command failed.
    #[error("haproxy does not do `{command}`: {answer}")]
    Command {
        /// Which one.
        command: String,
        /// What it said.
        answer: String,
    },
    /// It refused a configuration.
    #[error("haproxy refuses the configuration: {0}")]
    Configuration(String),
    /// The program cannot be run.
    #[error("cannot run {}", program.display())]
    Program {
        /// Which one.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The new process did not come.
    #[error("haproxy did not take the configuration over: {0}")]
    Reload(String),
}

impl Haproxy {
    /// Takes the places.
    pub fn new(config: &Config) -> Self {
        Self { program: config.haproxy.clone(), socket: config.haproxy_socket(), master: config.master_socket() }
    }

    /// Returns which process answers, and what it runs.
    pub async fn info(&self) -> Result<Info, HaproxyError> {
        let answer = self.ask(&self.socket, command::SHOW_INFO).await?;
        command::read_info(&answer).ok_or_else(|| refused(command::SHOW_INFO, &answer))
    }

    /// Returns the servers that haproxy has.
    pub async fn servers(&self) -> Result<Found, HaproxyError> {
        let answer = self.ask(&self.socket, command::SHOW_SERVERS).await?;
        command::read_servers(&answer).ok_or_else(|| refused(command::SHOW_SERVERS, &answer))
    }

    /// Sends a command that must succeed.
    pub async fn command(&self, command: &Command) -> Result<(), HaproxyError> {
        let answer = self.ask(&self.socket, &command.line).await?;
        if command.is_done(&answer) { Ok(()) } else { Err(refused(&command.line, &answer)) }
    }

    /// Lets haproxy itself look at a configuration.
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
        let alert = said.lines().find(|line| line.contains("[ALERT]")).unwrap_or("it does not say why");
        Err(HaproxyError::Configuration(alert.chars().take(300).collect()))
    }

    /// Makes the configuration file that is in its place the one that runs. `structure` is its digest, `before` the process
    /// that answered so far.
    pub async fn reload(&self, structure: &str, before: Option<u32>) -> Result<Info, HaproxyError> {
        // haproxy 2.6 ends the connection without a word, later ones say how it went.
        let answer = self.ask(&self.master, "reload").await?;
        if answer.contains("Success=0") {
            let why = answer.lines().find(|line| line.contains("[ALERT]")).unwrap_or("it does not say why");
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
                return Err(HaproxyError::Reload("the process before still answers".to_owned()));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ask(&self, socket: &Path, line: &str) -> Result<String, HaproxyError> {
        let away = |source| HaproxyError::Away { socket: socket.to_owned(), source };
        let bound = if socket == self.master { RELOAD } else { COMMAND };
        let talk = async {
            let mut stream = UnixStream::connect(socket).await?;
            stream.write_all(line.as_bytes()).await?;
            stream.write_all(b"\n").await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        timeout(bound, talk).await.map_err(|_| away(io::ErrorKind::TimedOut.into()))?.map_err(away)
    }
}

fn refused(command: &str, answer: &str) -> HaproxyError {
    let answer = answer.trim().chars().take(200).collect();
    HaproxyError::Command { command: command.chars().take(120).collect(), answer }
}
