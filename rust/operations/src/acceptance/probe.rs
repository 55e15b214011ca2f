//! Requests to applications, sent by a node.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use machinist_mesh::CheckKind;
use machinist_model::NodeName;
use machinist_remote::{Remote, Request};

use super::run::output;

const SCRIPT: &str = include_str!("request.sh");

/// Number of requests that a node sends at once.
const AT_ONCE: usize = 32;

/// Time limit of requests that are sent at once.
const BOUND: Duration = Duration::from_secs(15);

/// A request to an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Words for a problem, such as `web at 10.0.0.5:8080`.
    pub subject: String,
    line: String,
}

impl Probe {
    /// Returns the request that the application's own health check sends, to another address. A check by a program is not
    /// run there: a connection is enough.
    pub fn of(app: &str, kind: &CheckKind, address: IpAddr, port: u16) -> Self {
        let place = SocketAddr::new(address, port);
        let line = match kind {
            CheckKind::Http(path) => format!("http http://{place}{path}"),
            CheckKind::Tcp | CheckKind::Command(_) => format!("tcp {address} {port}"),
        };
        Self { subject: format!("{app} at {place}"), line }
    }
}

/// Sends the requests from the node. Returns the reasons of those that failed, each with its subject, without repetitions.
pub(super) fn send(node: &NodeName, remote: &dyn Remote, probes: &[Probe]) -> Vec<String> {
    if probes.is_empty() {
        return Vec::new();
    }
    let mut lines = String::new();
    for (number, probe) in probes.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{number} {}", probe.line);
    }
    let rounds = u32::try_from(probes.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
    let request = Request::new("request applications", SCRIPT).bytes(lines).timeout(BOUND * rounds + BOUND);
    match output(node, remote, request) {
        Ok(text) => failures(probes, &text),
        Err(why) => vec![why],
    }
}

fn failures(probes: &[Probe], text: &str) -> Vec<String> {
    let answers: BTreeMap<usize, &str> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(number, answer)| Some((number.parse().ok()?, answer)))
        .collect();
    let mut failures: Vec<String> = Vec::new();
    for (number, probe) in probes.iter().enumerate() {
        let answer = answers.get(&number).copied().unwrap_or("no result");
        let failure = format!("{}: {}", probe.subject, answer.trim());
        if answer != "ok" && !failures.contains(&failure) {
            failures.push(failure);
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        process::{Command, Stdio},
        thread,
    };

    use machinist_mesh::CheckKind;

    use super::{Probe, SCRIPT, failures};

    fn probe(kind: CheckKind, port: u16) -> Probe {
        Probe::of("web", &kind, "127.0.0.1".parse().unwrap(), port)
    }

    fn http(port: u16) -> Probe {
        probe(CheckKind::Http("/ping".to_owned()), port)
    }

    #[test]
    fn a_request_without_a_result_has_failed() {
        let probes = [http(1), http(2)];
        assert_eq!(failures(&probes, "0 ok\n1 ok\n"), Vec::<String>::new());
        assert_eq!(failures(&probes, "noise\n0 ok\n"), ["web at 127.0.0.1:2: no result"]);
        assert_eq!(failures(&[http(1), http(1)], "0 status 503\n1 status 503\n").len(), 1, "reported once");
    }

    /// Answers each connection with the text, and closes it or keeps it.
    fn serve(text: &'static str, keep: bool) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if !text.is_empty() {
                    let _ = stream.read(&mut [0; 1000]);
                    let _ = stream.write_all(text.as_bytes());
                }
                if keep {
                    kept.push(stream);
                }
            }
        });
        port
    }

    #[test]
    fn the_script_tells_an_application_that_works_from_one_that_does_not() {
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let probes = [
            http(serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false)),
            http(serve("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false)),
            http(refused),
            probe(CheckKind::Tcp, serve("", true)),
            // haproxy without a server accepts a connection, and closes it.
            probe(CheckKind::Tcp, serve("", false)),
            probe(CheckKind::Tcp, refused),
        ];
        let mut child =
            Command::new("sh").args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines: String = probes.iter().enumerate().map(|(n, probe)| format!("{n} {}\n", probe.line)).collect();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let found = failures(&probes, &String::from_utf8_lossy(&output.stdout));
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].ends_with("status 503") && found[1].contains("curl: (7)"), "{found:?}");
        assert!(found[2..].iter().all(|why| why.ends_with("closed at once")), "{found:?}");
    }
}
