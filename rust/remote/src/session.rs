//! SSH connection to a host, and the trait that the other crates use it by.

use crate::auth;
use crate::destination::Destination;
use crate::driver::{Driver, Inbox};
use crate::endpoint::Endpoint;
use crate::error::{ConnectFailure, RemoteError};
use crate::fingerprint::Fingerprint;
use crate::host_key;
use crate::known_hosts::KnownHosts;
use crate::lanes::Lanes;
use crate::proxy::Proxy;
use crate::request::{Output, Request};
use crate::resolved::{self, Resolved, Via};
use crate::run;
use crate::socket;
use crate::tunnel::{self, Tunnel};
use ssh2::MethodType;
use std::sync::Arc;

/// A host that runs scripts.
pub trait Remote: Send + Sync {
    /// Returns the endpoint of the commands, for messages.
    fn endpoint(&self) -> &Arc<Endpoint>;

    /// Runs a script to its end, whatever its status. Blocks. May be called from several threads at once.
    ///
    /// # Errors
    /// The request did not run to its end; a status other than 0 is not an error here.
    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError>;

    /// Opens a TCP connection from the host to `host:port`, as `ssh -W` does; `localhost` is the host itself.
    /// A refusal shows up when the tunnel is first read.
    ///
    /// # Errors
    /// The connection is lost, or this is not a real host.
    fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, RemoteError> {
        let label = format!("tunnel to {host}:{port}");
        Err(RemoteError::InvalidRequest { at: self.endpoint().clone(), label, reason: "it does not support tunnels" })
    }

    /// Returns the node's name.
    fn node(&self) -> &str {
        &self.endpoint().node
    }

    /// Runs a script that must succeed.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`RemoteError::Command`] with the last 20 lines of standard error if the status is
    /// not 0.
    fn run_checked(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        let label = request.label.clone();
        let output = self.run(request)?;
        if output.is_success() {
            return Ok(output);
        }
        let stderr = output.stderr_tail(20);
        Err(RemoteError::Command { at: self.endpoint().clone(), label, status: output.status, stderr })
    }
}

/// The SSH connection to a host. Dropping it ends the connection and the commands still running on it.
pub struct Session {
    at: Arc<Endpoint>,
    lanes: Lanes,
    may_sudo: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("at", &self.at).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects, verifies the host's key against the pinned one, and logs in.
    ///
    /// `accept` is a fingerprint that the operator has accepted for this host: a key with exactly this fingerprint is
    /// pinned in `known_hosts`, replacing earlier pins. Any other key that is not pinned is rejected.
    ///
    /// # Errors
    /// One variant of [`RemoteError`] for each step; nothing has run on the host.
    pub fn connect(
        destination: &Destination,
        known_hosts: &KnownHosts,
        accept: Option<Fingerprint>,
    ) -> Result<Self, RemoteError> {
        let resolved = resolved::resolve(destination)?;
        let at = Arc::new(resolved.endpoint(&destination.node));
        let first = dial(destination, &resolved, known_hosts, accept, &at)?;
        let may_sudo = destination.become_root;
        let again = (destination.clone(), known_hosts.clone(), at.clone());
        let dial = move || dial(&again.0, &resolved, &again.1, None, &again.2);
        Ok(Self { at, lanes: Lanes::new(first, Box::new(dial)), may_sudo })
    }

    /// Returns the reason why the connection is lost, if it is; a new one is needed then.
    pub fn lost(&self) -> Option<String> {
        self.lanes.first().lost()
    }
}

impl Remote for Session {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.at
    }

    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        run::run(&self.lanes, &self.at, self.may_sudo, request)
    }

    fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, RemoteError> {
        tunnel::open(self.lanes.first(), &self.at, host, port)
    }
}

/// Opens one connection: socket, handshake, host key, login, and the thread that owns it.
fn dial(
    destination: &Destination,
    resolved: &Resolved,
    known_hosts: &KnownHosts,
    accept: Option<Fingerprint>,
    at: &Arc<Endpoint>,
) -> Result<Arc<Inbox>, RemoteError> {
    let socket = socket::connect(destination, resolved, at)?;
    let other = |source| RemoteError::Connect { at: at.clone(), source: ConnectFailure::Other(source) };
    let duplicate = socket.stream.try_clone().map_err(other)?;
    let session = handshake(socket.stream, destination, resolved, known_hosts)
        .map_err(|source| explain(source, socket.proxy.as_ref(), resolved, at))?;
    drop(socket.place);
    host_key::verify(&session, known_hosts, &destination.host_pattern(), accept, at)?;
    auth::log_in(&session, &destination.identity_files, resolved, at)?;
    let inbox = Inbox::new().map_err(other)?;
    Driver::start(session, duplicate, socket.proxy, resolved.alive, inbox.clone()).map_err(other)?;
    Ok(inbox)
}

/// Returns the error of a handshake, with the output of the process that carries the bytes, if there is one.
fn explain(source: ssh2::Error, proxy: Option<&Proxy>, resolved: &Resolved, at: &Arc<Endpoint>) -> RemoteError {
    match (proxy, &resolved.network.via) {
        (Some(proxy), Some(via)) => {
            RemoteError::Transport { at: at.clone(), via: via.describe(), printed: proxy.last_words(), source }
        }
        _ => RemoteError::Handshake { at: at.clone(), source },
    }
}

/// Ciphers in order of preference: AES-GCM is the fastest on processors with AES, and unlike ChaCha20-Poly1305 makes
/// OpenSSH exchange keys only after 64 GiB, not after each GiB.
const CIPHERS: &str =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";

fn handshake(
    stream: std::os::fd::OwnedFd,
    destination: &Destination,
    resolved: &Resolved,
    known_hosts: &KnownHosts,
) -> Result<ssh2::Session, ssh2::Error> {
    // Through jump hosts, each of them is logged in to before the host responds.
    let n_connections = match &resolved.network.via {
        Some(Via::Jump { hosts, .. }) => 2 + hosts.matches(',').count(),
        Some(Via::Command(_)) | None => 1,
    };
    let limit = resolved.network.connect_timeout * u32::try_from(n_connections).unwrap_or(u32::MAX);
    let mut session = ssh2::Session::new()?;
    session.set_tcp_stream(stream);
    session.set_timeout(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1));
    host_key::prefer_pinned_algorithms(&session, &known_hosts.keys(&destination.host_pattern()))?;
    session.method_pref(MethodType::CryptCs, CIPHERS)?;
    session.method_pref(MethodType::CryptSc, CIPHERS)?;
    session.handshake()?;
    Ok(session)
}
