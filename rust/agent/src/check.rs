//! Health checks of the instances on this node.

use std::{net::SocketAddr, process::Stdio};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use machinist_mesh::{Check, CheckKind, LocalInstance, Name};
use tokio::{
    net::TcpStream,
    process::Command,
    sync::mpsc::Sender,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// Health of an instance after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// Name of the instance.
    pub instance: Name,
    /// True if it is healthy.
    pub healthy: bool,
}

/// Checks an instance until the receiver is dropped, and sends each change of its health.
pub async fn run(instance: LocalInstance, to: Sender<HealthChange>) {
    let address = SocketAddr::new(instance.value.address, instance.value.port);
    let mut health = Health::default();
    let mut ticks = interval(instance.check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !to.is_closed() {
        ticks.tick().await;
        let succeeded = timeout(instance.check.timeout, probe(&instance.check.kind, address)).await.unwrap_or(false);
        if let Some(healthy) = health.count(succeeded, &instance.check) {
            let change = HealthChange { instance: instance.name.clone(), healthy };
            if to.send(change).await.is_err() {
                return;
            }
        }
    }
}

/// Results of the checks so far.
#[derive(Debug, Default)]
struct Health {
    healthy: Option<bool>,
    row: u32,
    last: Option<bool>,
}

impl Health {
    /// Counts the result of a check. Returns the health if it changed.
    fn count(&mut self, succeeded: bool, check: &Check) -> Option<bool> {
        self.row = if self.last == Some(succeeded) { self.row.saturating_add(1) } else { 1 };
        self.last = Some(succeeded);
        let needed = if succeeded { check.rise } else { check.fall };
        if self.row < needed || self.healthy == Some(succeeded) {
            return None;
        }
        self.healthy = Some(succeeded);
        self.healthy
    }
}

async fn probe(kind: &CheckKind, address: SocketAddr) -> bool {
    match kind {
        CheckKind::Tcp => TcpStream::connect(address).await.is_ok(),
        CheckKind::Http(path) => get(address, path).await.is_some_and(|status| (200..400).contains(&status)),
        CheckKind::Command(words) => command(words).await,
    }
}

async fn get(address: SocketAddr, path: &str) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new()).ok()?;
    // The connection does the work while the response is awaited, and ends with this set. It may end first: its
    // response counts all the same.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    sender.send_request(request).await.ok().map(|answer| answer.status().as_u16())
}

async fn command(words: &[String]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.status().await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use machinist_mesh::{Check, CheckKind};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::{Health, probe};

    #[test]
    fn health_changes_when_enough_checks_in_a_row_agree() {
        let check = Check { kind: CheckKind::Tcp, interval: Duration::ZERO, timeout: Duration::ZERO, fall: 2, rise: 1 };
        let mut health = Health::default();
        let results = [true, true, false, true, false, false, false, true];
        let changes: Vec<_> = results.iter().map(|result| health.count(*result, &check)).collect();
        let expected = [Some(true), None, None, None, None, Some(false), None, Some(true)];
        assert_eq!(changes, expected);
    }

    #[tokio::test]
    async fn an_http_check_looks_at_the_status() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 1024];
                let length = stream.read(&mut bytes).await.unwrap();
                let status = if bytes[..length].starts_with(b"GET /ping ") { 204 } else { 500 };
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        assert!(probe(&CheckKind::Http("/ping".to_owned()), address).await);
        assert!(!probe(&CheckKind::Http("/other".to_owned()), address).await);
        assert!(probe(&CheckKind::Tcp, address).await);
        assert!(!probe(&CheckKind::Tcp, "127.0.0.1:1".parse().unwrap()).await);
    }

    #[tokio::test]
    async fn a_command_must_exit_with_0() {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        for (word, healthy) in [("/bin/true", true), ("/bin/false", false), ("/nonexistent", false)] {
            assert_eq!(probe(&CheckKind::Command(vec![word.to_owned()]), nowhere).await, healthy, "{word}");
        }
    }
}
