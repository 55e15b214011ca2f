//! Process that carries a connection's bytes: `ssh -W` through jump hosts, or a ProxyCommand.

use crate::clean::last_lines;
use crate::endpoint::Endpoint;
use crate::gate::Place;
use crate::resolved::Via;
use crate::ssh_config::{SshConfig, hang_up};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Maximum amount of kept output of the process, in bytes; the end is kept.
const KEPT: usize = 8 << 10;

/// Time to wait for the last output of a process that has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A process that carries bytes; it is ended together with the connection, including its child processes.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

/// A started process with its stream. The slot is released when the login at the jump host is complete.
pub(crate) struct Started {
    pub stream: OwnedFd,
    pub proxy: Proxy,
    pub place: Option<Place>,
}

/// Starts the process. Its standard error is kept for error messages, and not shown otherwise.
pub(crate) fn start(via: &Via, at: &Endpoint) -> io::Result<Started> {
    let (mut command, place) = match via {
        Via::Jump { hosts, config } => (jump(config, hosts, at), Some(config.jumps().enter())),
        Via::Command(command) => (shell(command), None),
    };
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    // A separate process group: an interrupt at the terminal must not cut a connection that is still needed to stop a
    // host's activation, and a pipeline ends as a unit.
    let mut child =
        command.stdin(theirs.try_clone()?).stdout(theirs).stderr(Stdio::piped()).process_group(0).spawn()?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let (sender, ended) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        let printed = printed.clone();
        std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            keep_last(stderr, &printed);
            drop(sender);
        })?;
    }
    Ok(Started { stream: ours.into(), proxy: Proxy { child, printed, ended }, place })
}

/// Returns `ssh -W`, which OpenSSH itself would start for ProxyJump. It may not prompt: several of them share one
/// terminal.
fn jump(config: &SshConfig, hosts: &str, at: &Endpoint) -> Command {
    let mut command = config.ssh();
    command.args(["-o", "BatchMode=yes"]);
    let last = match hosts.rsplit_once(',') {
        Some((before, last)) => {
            command.args(["-J", before]);
            last
        }
        None => hosts,
    };
    command.arg("-W").arg(format!("[{}]:{}", at.host, at.port));
    command.arg("--").arg(format!("ssh://{last}"));
    command
}

/// Returns the operator's shell with the command, as in OpenSSH (ssh_config(5), ProxyCommand).
fn shell(command: &str) -> Command {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let mut process = machinist_environment::program(shell);
    process.arg("-c").arg(format!("exec {command}"));
    process
}

fn keep_last(mut stderr: impl Read, printed: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    loop {
        match stderr.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let mut kept = printed.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&buffer[..length]);
                let excess = kept.len().saturating_sub(KEPT);
                kept.drain(..excess);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Proxy {
    /// Returns the last lines that the process has printed, cleaned.
    pub fn last_words(&self) -> String {
        // Returns early when the process closes its standard error; the sender never sends.
        let _ = self.ended.recv_timeout(LAST_WORDS);
        last_lines(&self.printed.lock().unwrap_or_else(PoisonError::into_inner), 10)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        hang_up(&mut self.child);
    }
}
