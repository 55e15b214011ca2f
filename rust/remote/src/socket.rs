//! The byte stream to a host: TCP, also inside a network namespace, or a ProxyCommand's pipes.

use crate::destination::{Destination, Endpoint};
use crate::error::{ConnectFailure, RemoteError};
use crate::ssh_config::Resolved;
use rustix::net::sockopt;
use rustix::thread::LinkNameSpaceType;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A ProxyCommand's process, ended with the connection.
#[derive(Debug)]
pub(crate) struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connected stream, and the process that carries it if there is one.
pub(crate) struct Socket {
    pub stream: OwnedFd,
    pub proxy: Option<Proxy>,
}

/// Why connecting failed, before it is known to which node.
enum Failure {
    Namespace(PathBuf, io::Error),
    Resolve(io::Error),
    Connect(ConnectFailure),
}

/// Connects to the host within `resolved.connect_timeout`.
pub(crate) fn connect(
    destination: &Destination,
    resolved: &Resolved,
    at: &Arc<Endpoint>,
) -> Result<Socket, RemoteError> {
    if let Some(command) = &resolved.proxy_command {
        return start_proxy(command).map_err(|source| RemoteError::Proxy {
            at: at.clone(),
            command: command.clone(),
            source,
        });
    }
    let limit = resolved.connect_timeout;
    let (host, port, namespace) = (resolved.host.clone(), resolved.port, destination.namespace.clone());
    let (sender, receiver) = mpsc::sync_channel(1);
    // A thread of its own: a namespace is a thread's property, and resolving a name knows no time limit.
    // A thread that outlives the limit ends by itself; its result goes nowhere.
    std::thread::spawn(move || {
        let _ = sender.send(connect_here(&host, port, namespace.as_deref(), limit));
    });
    let at = at.clone();
    match receiver.recv_timeout(limit + Duration::from_millis(500)) {
        Ok(Ok(stream)) => Ok(Socket { stream: stream.into(), proxy: None }),
        Ok(Err(Failure::Namespace(path, source))) => Err(RemoteError::Namespace { at, path, source }),
        Ok(Err(Failure::Resolve(source))) => Err(RemoteError::Resolve { at, source }),
        Ok(Err(Failure::Connect(source))) => Err(RemoteError::Connect { at, source }),
        Err(_) => Err(RemoteError::Connect { at, source: ConnectFailure::NoAnswer(limit) }),
    }
}

fn connect_here(host: &str, port: u16, namespace: Option<&Path>, limit: Duration) -> Result<TcpStream, Failure> {
    if let Some(path) = namespace {
        enter(path).map_err(|error| Failure::Namespace(path.to_owned(), error))?;
    }
    let started = Instant::now();
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(Failure::Resolve)?.collect();
    let mut failure = Failure::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left).and_then(tune) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Failure::Connect(explain(error, limit)),
        }
    }
    Err(failure)
}

fn enter(namespace: &Path) -> io::Result<()> {
    let file = std::fs::File::open(namespace)?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

fn tune(stream: TcpStream) -> io::Result<TcpStream> {
    // Commands and their answers are small: waiting for more to send would cost a round trip each.
    stream.set_nodelay(true)?;
    // An idle connection to a host that vanished breaks when a keepalive stays unacknowledged this long.
    sockopt::set_tcp_user_timeout(&stream, 20_000)?;
    Ok(stream)
}

fn explain(error: io::Error, limit: Duration) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        io::ErrorKind::TimedOut => ConnectFailure::NoAnswer(limit),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ConnectFailure::NoRoute(error),
        _ => ConnectFailure::Other(error),
    }
}

fn start_proxy(command: &str) -> io::Result<Socket> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    let child = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("exec {command}"))
        .stdin(Stdio::from(theirs.try_clone()?))
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Socket { stream: ours.into(), proxy: Some(Proxy(child)) })
}
