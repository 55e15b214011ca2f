//! Forward: local ports that lead to ports which a machine reaches.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError, Tunnel};
use machinist_rollout::step::Connector;

use crate::{
    connect,
    context::Context,
    event::Events,
    failure::{Failure, Kind, words},
};

/// Interval of the look at new connections and at the interrupt.
const LOOK: Duration = Duration::from_millis(50);

/// Clients of one connection to the machine: it has room for eight channels at once.
const CLIENTS: usize = 7;

/// Local port and its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Port of 127.0.0.1 on this computer; 0 for a free one.
    pub local: u16,
    /// Host as the machine names it: itself, a neighbour, or an address of an overlay.
    pub host: String,
    /// Port of that host.
    pub port: u16,
}

impl Mapping {
    /// Parses `LOCAL:PORT` or `LOCAL:HOST:PORT`; an IPv6 address is in brackets.
    ///
    /// # Errors
    /// Returns the reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is not a port"));
        let Some((local, rest)) = text.split_once(':') else { return Err("expected LOCAL:[HOST:]PORT".to_owned()) };
        let (host, remote) = rest.rsplit_once(':').unwrap_or(("localhost", rest));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let remote = port(remote)?;
        if host.is_empty() || remote == 0 {
            return Err("expected LOCAL:[HOST:]PORT".to_owned());
        }
        Ok(Self { local: port(local)?, host: host.to_owned(), port: remote })
    }
}

/// Request to forward ports.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the node.
    pub node: NodeName,
    /// Ports.
    pub mappings: Vec<Mapping>,
}

/// Forwards the ports until the interrupt is set. A lost connection is opened again for the next client.
///
/// # Errors
/// The node cannot be reached, or a local port is taken.
pub fn run(context: &Context, request: &Request) -> Result<(), Failure> {
    let cluster = context.project.load()?.cluster;
    connect::select(&cluster, Some(&[request.node.to_string()]))?;
    let connector = connect::connector(context, &cluster, None)?;
    let line = Line { node: request.node.clone(), connector, remotes: Vec::new() };
    let mut line =
        line.opened().map_err(|error| Failure::on(&request.node, Kind::Failed, &error).maybe_hint(error.hint()))?;
    let listeners: Vec<(TcpListener, &Mapping)> = request.mappings.iter().map(listen).collect::<Result<_, _>>()?;
    for (listener, mapping) in &listeners {
        let local = listener.local_addr().map_or_else(|_| mapping.local.to_string(), |address| address.to_string());
        context.events.remark(format!("{local} leads to {}:{} by way of {}", mapping.host, mapping.port, request.node));
    }
    while !context.interrupt.is_set() {
        let mut accepted = false;
        for (listener, mapping) in &listeners {
            if let Ok((client, _)) = listener.accept() {
                accepted = true;
                line.serve(client, mapping, &context.events);
            }
        }
        if !accepted {
            thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn listen(mapping: &Mapping) -> Result<(TcpListener, &Mapping), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, mapping.local));
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let hint = "another program listens there; name another local port, or 0 for any";
    listener
        .map(|listener| (listener, mapping))
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot listen on {address}: {error}")).hint(hint))
}

/// Connections to the machine. A client holds its connection, so that the number of holders is that of clients.
struct Line {
    node: NodeName,
    connector: Connector,
    remotes: Vec<Arc<dyn Remote>>,
}

impl Line {
    fn opened(mut self) -> Result<Self, RemoteError> {
        self.remotes.push(Arc::from(self.connector.connect(&self.node)?));
        Ok(self)
    }

    /// Serves a client in threads of its own.
    fn serve(&mut self, client: TcpStream, mapping: &Mapping, events: &Events) {
        match self.tunnel(mapping) {
            Ok((remote, tunnel)) => {
                let events = events.clone();
                let to = format!("{}:{}", mapping.host, mapping.port);
                thread::spawn(move || {
                    if let Err(error) = carry(client, tunnel) {
                        events.warn(format!("a connection to {to} failed: {error}"));
                    }
                    drop(remote);
                });
            }
            Err(error) => {
                reset(&client);
                events.warn(format!("{}: {}", self.node, words(&self.node, &error)));
            }
        }
    }

    /// Opens a tunnel over a connection with room for it, or over a new one.
    fn tunnel(&mut self, mapping: &Mapping) -> Result<(Arc<dyn Remote>, Tunnel), RemoteError> {
        let mut free = self.remotes.iter().filter(|remote| Arc::strong_count(remote) <= CLIENTS);
        let opened =
            free.find_map(|remote| Some((Arc::clone(remote), remote.tunnel(&mapping.host, mapping.port).ok()?)));
        if let Some(opened) = opened {
            return Ok(opened);
        }
        // Connections without a client are lost, or were for a peak.
        self.remotes.retain(|remote| Arc::strong_count(remote) > 1);
        let remote: Arc<dyn Remote> = Arc::from(self.connector.connect(&self.node)?);
        let tunnel = remote.tunnel(&mapping.host, mapping.port)?;
        self.remotes.push(Arc::clone(&remote));
        Ok((remote, tunnel))
    }
}

/// Copies both directions. A client that has sent everything still receives the rest of the answer.
fn carry(client: TcpStream, Tunnel { mut reader, mut writer }: Tunnel) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let (mut from_client, mut to_client) = (client.try_clone()?, client.try_clone()?);
    let there = thread::spawn(move || {
        let _ended = io::copy(&mut from_client, &mut writer);
        // Dropping the writer sends the end of the data.
    });
    let (copied, lost) = copy(&mut reader, &mut to_client);
    match &lost {
        // A clean end would make a part of an answer look like all of it.
        Some(_) => reset(&client),
        None => drop(client.shutdown(Shutdown::Both)),
    }
    let _finished = there.join();
    match lost {
        Some(error) if copied || error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Copies to a client. Returns true if it received anything, and the error of the machine's side.
fn copy(from: &mut impl io::Read, to: &mut TcpStream) -> (bool, Option<io::Error>) {
    let mut buffer = vec![0; 64 << 10];
    let mut copied = false;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return (copied, None),
            // The client is gone.
            Ok(length) if to.write_all(&buffer[..length]).is_err() => return (copied, None),
            Ok(_) => copied = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (copied, Some(error)),
        }
    }
}

/// Ends a client's connection as an error: the next close resets it.
fn reset(client: &TcpStream) {
    let _unset = rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO));
    let _closed = client.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Mapping;

    #[test]
    fn a_mapping_names_a_local_port_a_host_and_its_port() {
        let mapping = |local, host: &str, port| Mapping { local, host: host.to_owned(), port };
        assert_eq!(Mapping::parse("8080:80").unwrap(), mapping(8080, "localhost", 80));
        assert_eq!(Mapping::parse("0:10.42.0.7:5432").unwrap(), mapping(0, "10.42.0.7", 5432));
        assert_eq!(Mapping::parse("1:[fd00::1]:2").unwrap(), mapping(1, "fd00::1", 2));
        for text in ["", "80", "80:", "x:80", "80:0", "70000:1", "1::2", "1:h:"] {
            assert!(Mapping::parse(text).is_err(), "{text}");
        }
    }
}
