//! Errors between here and a host, one variant per step.

use crate::auth_attempt::{AuthAttempt, AuthOutcome};
use crate::endpoint::Endpoint;
use crate::fingerprint::Fingerprint;
use crate::known_hosts::KnownHostsError;
use crate::request::Status;
use crate::ssh_config::SshConfigError;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// libssh2.h: the host refused to open a channel.
pub(crate) const CHANNEL_FAILURE: ssh2::ErrorCode = ssh2::ErrorCode::Session(-21);

/// Reason why a TCP connection failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The host refused: nothing listens on the port.
    #[error("connection refused: the host is up, but nothing listens on this port")]
    Refused,
    /// There was no answer before the timeout.
    #[error("no answer within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// The network reported that the host is unreachable.
    #[error("no route to the host: {0}")]
    NoRoute(#[source] io::Error),
    /// Anything else that the operating system reports.
    #[error("{0}")]
    Other(#[source] io::Error),
}

/// A failed step of the work on a host. Each message begins with the node's name.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the fields that all variants share are described here: `at` is the endpoint of the session, \
            `label` the request's short name, `source` the cause"
)]
pub enum RemoteError {
    /// The operator's ssh_config cannot be applied.
    #[error("{node}: cannot determine how to connect")]
    SshConfig {
        node: String,
        #[source]
        source: SshConfigError,
    },
    /// The host's name has no address.
    #[error("{}: cannot resolve {}", at.node, at.host)]
    Resolve {
        at: Arc<Endpoint>,
        #[source]
        source: io::Error,
    },
    /// The network namespace of a sandbox machine cannot be entered.
    #[error("{}: cannot enter the network namespace {}", at.node, path.display())]
    Namespace {
        at: Arc<Endpoint>,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The program that carries the connection cannot be started.
    #[error("{}: cannot start the {via}", at.node)]
    Proxy {
        at: Arc<Endpoint>,
        via: String,
        #[source]
        source: io::Error,
    },
    /// No SSH server was reached through jump hosts or a ProxyCommand. `printed` is the end of its standard error.
    #[error("{}: no SSH connection to {at} by {via}{}", at.node, indented(printed))]
    Transport {
        at: Arc<Endpoint>,
        via: String,
        printed: String,
        #[source]
        source: ssh2::Error,
    },
    /// No TCP connection could be opened.
    #[error("{}: cannot connect to {at}", at.node)]
    Connect {
        at: Arc<Endpoint>,
        #[source]
        source: ConnectFailure,
    },
    /// The machine is a sandbox's, and its container has ended.
    #[error("{}: the machine is not running: {why}", at.node)]
    Stopped { at: Arc<Endpoint>, why: String },
    /// The machine is a server of a cloud that was not created yet.
    #[error("{}: the machine has no server yet", at.node)]
    NoServer { at: Arc<Endpoint> },
    /// The server does not speak a compatible SSH protocol.
    #[error("{}: SSH handshake with {at} failed", at.node)]
    Handshake {
        at: Arc<Endpoint>,
        #[source]
        source: ssh2::Error,
    },
    /// No key is pinned for this host.
    #[error("{}: unknown host key of {at}: it offers {algorithm} {found}", at.node)]
    HostKeyUnknown { at: Arc<Endpoint>, algorithm: String, found: Fingerprint },
    /// The host offers a key other than the pinned one.
    #[error("{}: the host key of {at} has changed: pinned is {}, it offers {algorithm} {found}", at.node, list(pinned))]
    HostKeyChanged { at: Arc<Endpoint>, pinned: Vec<Fingerprint>, algorithm: String, found: Fingerprint },
    /// The host's key belongs to another node.
    #[error("{}: the host key of {at} is that of {other}, {found}: both lead to the same machine", at.node)]
    HostKeyOfOther { at: Arc<Endpoint>, other: String, found: Fingerprint, file: PathBuf },
    /// The accepted key cannot be recorded.
    #[error("{}: cannot pin the host key of {at}", at.node)]
    PinHostKey {
        at: Arc<Endpoint>,
        #[source]
        source: KnownHostsError,
    },
    /// None of the keys was accepted.
    #[error("{}: {at} accepts none of our keys: {}", at.node, list(attempts))]
    Auth { at: Arc<Endpoint>, attempts: Vec<AuthAttempt> },
    /// A request that no host can run, rejected before anything was sent.
    #[error("{}: cannot run `{label}`: {reason}", at.node)]
    InvalidRequest { at: Arc<Endpoint>, label: String, reason: &'static str },
    /// The connection works, but the host opens no channel for the command, or closes it.
    #[error("{}: {at} refuses to run `{label}`", at.node)]
    Channel {
        at: Arc<Endpoint>,
        label: String,
        #[source]
        source: ssh2::Error,
    },
    /// The command exceeded its time limit and was stopped.
    #[error("{}: `{label}` took longer than {} s on {at}", at.node, limit.as_secs_f32())]
    Timeout { at: Arc<Endpoint>, label: String, limit: Duration },
    /// The connection broke. The command may still be running.
    #[error("{}: connection to {at} lost during `{label}` after {:.1} s: {reason}", at.node, after.as_secs_f32())]
    ConnectionLost { at: Arc<Endpoint>, label: String, after: Duration, reason: String },
    /// The input for the command could not be read here.
    #[error("{}: cannot read the input of `{label}`", at.node)]
    Input {
        at: Arc<Endpoint>,
        label: String,
        #[source]
        source: io::Error,
    },
    /// The output of the command could not be stored here.
    #[error("{}: cannot store the output of `{label}`", at.node)]
    Output {
        at: Arc<Endpoint>,
        label: String,
        #[source]
        source: io::Error,
    },
    /// The command wrote more than the caller's limit.
    #[error("{}: `{label}` wrote more than {limit} bytes on {at}", at.node)]
    OutputTooLong { at: Arc<Endpoint>, label: String, limit: usize },
    /// The user may not become root without a password.
    #[error("{}: {at} does not let {} become root for `{label}`: {message}", at.node, at.user)]
    BecomeRoot { at: Arc<Endpoint>, label: String, message: String },
    /// The host's login shell ended before the script began; `said` is the end of its output.
    #[error("{}: `{label}` was not started: the login shell on {at} {status}{}", at.node, indented(said))]
    NotStarted { at: Arc<Endpoint>, label: String, status: Status, said: String },
    /// The host's login shell does not stop printing.
    #[error("{}: `{label}` was not started: the login shell on {at} printed more than {limit} bytes", at.node)]
    Noise { at: Arc<Endpoint>, label: String, limit: usize },
    /// The command succeeded, but its output is truncated.
    #[error("{}: the output of `{label}` on {at} is truncated", at.node)]
    CutOff { at: Arc<Endpoint>, label: String },
    /// The command ran and failed; `stderr` holds its last lines.
    #[error("{}: `{label}` {status} on {at}{}", at.node, indented(stderr))]
    Command { at: Arc<Endpoint>, label: String, status: Status, stderr: String },
    /// The command succeeded, but its output does not have the agreed form.
    #[error("{}: unexpected output of `{label}` on {at}: {answer}", at.node)]
    Answer { at: Arc<Endpoint>, label: String, answer: String },
}

impl RemoteError {
    /// Returns the way to fix it: a command or an edit.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SshConfig { source, .. } => source.hint(),
            Self::Resolve { at, .. } => {
                Some(format!("set machines.{}.ssh.host to a name that resolves or to an address", at.node))
            }
            Self::Namespace { path, .. } => {
                Some(format!("start the sandbox with `machinist sandbox up` (as root): {} must exist", path.display()))
            }
            Self::Proxy { .. } => Some("install the program, or correct the SSH configuration".to_owned()),
            Self::Transport { at, .. } => {
                Some(format!("try it without machinist, which answers no prompts: ssh {}", login(at)))
            }
            Self::Connect { at, source } => connect_hint(at, source),
            Self::Stopped { .. } => Some("`machinist sandbox up` (as root) starts it again".to_owned()),
            Self::Handshake { at, .. } => Some(format!("check the server on this port: ssh -v {}", login(at))),
            Self::NoServer { at } => Some(format!("create it: `machinist provision {}`", at.node)),
            Self::HostKeyUnknown { at, found, .. } => Some(format!(
                "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the machine's console, then: \
                 machinist deploy {} --accept-host-key {found}",
                at.node
            )),
            Self::HostKeyChanged { at, found, .. } => Some(format!(
                "if the machine was reinstalled, accept its new key: machinist deploy {} --accept-host-key {found}; \
                 otherwise this may be a man-in-the-middle attack",
                at.node
            )),
            Self::HostKeyOfOther { at, other, file, .. } => Some(format!(
                "correct machines.{}.ssh.host or machines.{other}.ssh.host, and the wrong line of {}; a machine \
                 that was cloned with its host keys needs its own: `rm /etc/ssh/ssh_host_*_key*` and a restart of sshd there",
                at.node,
                file.display()
            )),
            Self::PinHostKey { source, .. } => source.hint(),
            Self::Auth { at, attempts } => Some(auth_hint(at, attempts)),
            Self::BecomeRoot { at, .. } => Some(format!(
                "set machines.{}.ssh.user to root, or allow {} to use sudo without a password",
                at.node, at.user
            )),
            Self::NotStarted { at, .. } | Self::Noise { at, .. } => {
                Some(format!("check the startup files of {}'s shell there: ssh {} true", at.user, login(at)))
            }
            Self::Channel { at, source, .. } if source.code() == CHANNEL_FAILURE => {
                Some(format!("set `MaxSessions` in the sshd_config of {} to at least 1; 10 is the default", at.host))
            }
            Self::ConnectionLost { .. } | Self::CutOff { .. } => {
                Some("run the command again: it continues from the host's current state".to_owned())
            }
            Self::InvalidRequest { .. }
            | Self::Channel { .. }
            | Self::Timeout { .. }
            | Self::Input { .. }
            | Self::Output { .. }
            | Self::OutputTooLong { .. }
            | Self::Command { .. }
            | Self::Answer { .. } => None,
        }
    }

    /// Returns true if the same request may succeed on a new connection, as after a reboot of the host.
    pub fn is_connection_failure(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Stopped { .. }
                | Self::ConnectionLost { .. }
                | Self::Handshake { .. }
                | Self::Transport { .. }
        )
    }
}

/// Returns the arguments of `ssh` that lead to the host.
fn login(at: &Endpoint) -> String {
    format!("-p {} {}@{}", at.port, at.user, at.host)
}

fn connect_hint(at: &Endpoint, failure: &ConnectFailure) -> Option<String> {
    let Endpoint { host, port, .. } = at;
    match failure {
        ConnectFailure::Refused => Some(format!("check that sshd runs on {host} and listens on port {port}")),
        ConnectFailure::NoAnswer(_) => {
            Some(format!("check that {host} is up and that no firewall drops port {port}: ping {host}"))
        }
        ConnectFailure::NoRoute(_) => Some(format!("check the route from here: ip route get {host}")),
        ConnectFailure::Other(_) => None,
    }
}

fn auth_hint(at: &Endpoint, attempts: &[AuthAttempt]) -> String {
    let with = |outcome: AuthOutcome| attempts.iter().find(|attempt| attempt.outcome == outcome);
    if let Some(attempt) = with(AuthOutcome::Encrypted) {
        return format!("add the encrypted key to ssh-agent: ssh-add {}", attempt.key);
    }
    if with(AuthOutcome::Hardware).is_some() {
        return format!(
            "log in with a key that is not in a hardware token: `ssh-keygen -t ed25519 -f FILE`, add FILE.pub to the \
             authorized keys of {} (operators.nix), then `--ssh-key FILE` or ssh-add FILE",
            at.user
        );
    }
    format!("add one of these keys to the authorized keys of {}, or load the right one: ssh-add FILE", at.user)
}

fn list<T: ToString>(items: &[T]) -> String {
    match items {
        [] => "no keys to try".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn indented(stderr: &str) -> String {
    stderr.lines().map(|line| format!("\n  {line}")).collect()
}
