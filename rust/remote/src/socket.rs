//! Byte stream to a host: TCP, also inside a network namespace, or the pipes of a process.

use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::error::{ConnectFailure, RemoteError};
use crate::gate::Place;
use crate::proxy::{self, Proxy, Started};
use crate::resolved::{Family, Resolved};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::thread::LinkNameSpaceType;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A connected stream, and the process that carries it, if there is one.
pub(crate) struct Socket {
    pub stream: OwnedFd,
    pub proxy: Option<Proxy>,
    /// The slot of a jump host connection, held until the handshake with the host is complete.
    pub place: Option<Place>,
}

/// Reason why connecting failed, before the node is known.
enum Failure {
    Namespace(PathBuf, io::Error),
    Resolve(io::Error),
    Connect(ConnectFailure),
}

/// Connects to the host within its connect timeout.
pub(crate) fn connect(
    destination: &Destination,
    resolved: &Resolved,
    at: &Arc<Endpoint>,
) -> Result<Socket, RemoteError> {
    if let Some(via) = &resolved.network.via {
        let failed = |source| RemoteError::Proxy { at: at.clone(), via: via.describe(), source };
        let Started { stream, proxy, place } = proxy::start(via, at).map_err(failed)?;
        return Ok(Socket { stream, proxy: Some(proxy), place });
    }
    let limit = resolved.network.connect_timeout;
    let route = Route {
        host: resolved.host.clone(),
        port: resolved.port,
        namespace: destination.namespace.clone(),
        family: resolved.network.family,
        bind: resolved.network.bind.clone(),
    };
    let (sender, receiver) = mpsc::sync_channel(1);
    // A separate thread: a namespace is a thread's property, and resolving a name has no time limit. A thread that
    // outlives the limit ends by itself; its result is discarded.
    std::thread::spawn(move || {
        let _ = sender.send(connect_here(&route, limit));
    });
    let at = at.clone();
    match receiver.recv_timeout(limit + Duration::from_millis(500)) {
        Ok(Ok(stream)) => Ok(Socket { stream, proxy: None, place: None }),
        Ok(Err(Failure::Namespace(path, source))) => Err(RemoteError::Namespace { at, path, source }),
        Ok(Err(Failure::Resolve(source))) => Err(RemoteError::Resolve { at, source }),
        Ok(Err(Failure::Connect(source))) => Err(RemoteError::Connect { at, source }),
        Err(_) => Err(RemoteError::Connect { at, source: ConnectFailure::NoAnswer(limit) }),
    }
}

/// Input of a connection's thread.
struct Route {
    host: String,
    port: u16,
    namespace: Option<PathBuf>,
    family: Family,
    bind: Option<String>,
}

fn connect_here(route: &Route, limit: Duration) -> Result<OwnedFd, Failure> {
    if let Some(path) = &route.namespace {
        enter(path).map_err(|error| Failure::Namespace(path.to_owned(), error))?;
    }
    let started = Instant::now();
    let addresses = addresses(&route.host, route.port, route.family)?;
    let mut failure = Failure::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        match open(address, route.bind.as_deref(), left).and_then(tune) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Failure::Connect(explain(error, limit)),
        }
    }
    Err(failure)
}

fn addresses(host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, Failure> {
    let fits = |address: &SocketAddr| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    Ok((host, port).to_socket_addrs().map_err(Failure::Resolve)?.filter(fits).collect())
}

fn open(address: SocketAddr, bind: Option<&str>, limit: Duration) -> io::Result<OwnedFd> {
    match bind {
        None => Ok(TcpStream::connect_timeout(&address, limit)?.into()),
        Some(name) => open_from(local_address(name, &address)?, address, limit),
    }
}

/// Returns the address of the same IP version that `name` is or resolves to.
fn local_address(name: &str, remote: &SocketAddr) -> io::Result<SocketAddr> {
    let mut found = (name, 0).to_socket_addrs()?;
    found.find(|address| address.is_ipv4() == remote.is_ipv4()).ok_or_else(|| {
        let reason = format!("BindAddress {name} has no address to connect to {} from", remote.ip());
        io::Error::new(io::ErrorKind::AddrNotAvailable, reason)
    })
}

fn open_from(local: SocketAddr, remote: SocketAddr, limit: Duration) -> io::Result<OwnedFd> {
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    net::bind(&socket, &local)?;
    match net::connect(&socket, &remote) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            if poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&crate::timeout::timespec(limit)))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

fn enter(namespace: &Path) -> io::Result<()> {
    let file = std::fs::File::open(namespace)?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

fn tune(stream: OwnedFd) -> io::Result<OwnedFd> {
    // Commands and their answers are small: waiting for more data to send would cost a round trip each.
    sockopt::set_tcp_nodelay(&stream, true)?;
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
