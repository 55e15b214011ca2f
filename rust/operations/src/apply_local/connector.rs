//! Connections of a node that changes itself: a shell of its own, and SSH to the others as far as that works.

use std::{
    io::Read as _,
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use machinist_model::{Cluster, NodeName};
use machinist_remote::{ConnectFailure, Endpoint, Local, Remote, RemoteError};
use machinist_rollout::step::{Connect, Connector};

use crate::{
    connect,
    context::{Connections, Context},
    failure::Failure,
};

/// Time limit of one attempt to reach sshd.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Time for sshd to answer again: an activation may restart it.
const AGAIN: Duration = Duration::from_secs(15);

/// Returns the connections of the node. Those that the caller of the operation has given are used as they are.
pub(super) fn connector(context: &Context, cluster: &Cluster, node: &NodeName) -> Result<Connector, Failure> {
    let others = connect::connector(context, cluster, None)?;
    if matches!(context.connections, Connections::Given(_)) {
        return Ok(others);
    }
    let Some(known) = cluster.nodes.get(node) else { return Ok(others) };
    let port = known.ssh.listening_port();
    let sshd =
        Sshd { node: node.clone(), at: [known.ip, IpAddr::from([127, 0, 0, 1])].map(|ip| SocketAddr::new(ip, port)) };
    let answers = sshd.answers();
    if !answers {
        context.events.note(node, format!("sshd does not answer on port {port}: that is no gate of the new system"));
    }
    Ok(Arc::new(LocalFirst { node: node.clone(), others, sshd, is_required: AtomicBool::new(answers) }))
}

struct LocalFirst {
    node: NodeName,
    others: Connector,
    sshd: Sshd,
    /// True if sshd answered before the change, so that a system without it locks the operators out.
    is_required: AtomicBool,
}

impl Connect for LocalFirst {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        if *node != self.node {
            return self.others.connect(node);
        }
        if self.is_required.load(Ordering::Relaxed) {
            self.sshd.wait()?;
        }
        Ok(Box::new(Local::new(node.as_str())))
    }
}

/// SSH server of this computer.
struct Sshd {
    node: NodeName,
    at: [SocketAddr; 2],
}

impl Sshd {
    fn answers(&self) -> bool {
        self.at.iter().any(greets)
    }

    /// Waits until the server answers.
    fn wait(&self) -> Result<(), RemoteError> {
        let deadline = Instant::now() + AGAIN;
        while !self.answers() {
            if Instant::now() >= deadline {
                let [at, _] = self.at;
                let (node, user, host) = (self.node.to_string(), "root".to_owned(), at.ip().to_string());
                let at = Arc::new(Endpoint { node, user, host, port: at.port() });
                return Err(RemoteError::Connect { at, source: ConnectFailure::NoAnswer(AGAIN) });
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// Returns true if an SSH server greets there. A port that only accepts connections, as a socket unit whose service
/// fails does, is none.
fn greets(at: &SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(at, ATTEMPT) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(ATTEMPT)).is_ok() && stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{io::Write as _, net::TcpListener, thread};

    use super::greets;

    #[test]
    fn only_a_server_that_greets_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for greeting in [&b"SSH-2.0-OpenSSH_9.9\r\n"[..], b"HTTP/1.1 400\r\n", b""] {
                listener.accept().unwrap().0.write_all(greeting).unwrap();
            }
        });
        assert_eq!([greets(&at), greets(&at), greets(&at)], [true, false, false]);
        server.join().unwrap();
        assert!(!greets(&at), "nothing listens any more");
    }
}
