//! Connections into a network namespace of the test.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use machinist_remote::{ConnectFailure, Remote as _, RemoteError, Request, Session};
use machinist_testkit::skip::is_root_or_skipped;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use support::{SSHD, Sshd};

struct Namespace(String);

impl Namespace {
    fn new(suffix: &str) -> Self {
        let namespace = Self(format!("rmt-test-{}{suffix}", std::process::id()));
        ip(&["netns", "add", &namespace.0]);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    fn ip(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.0], arguments].concat());
    }

    /// Starts sshd inside.
    fn sshd(&self, config: &str) -> Sshd {
        let mut sshd = Sshd::prepare(config);
        sshd.port = support::closed_port();
        let net = format!("--net={}", self.path().display());
        assert!(sshd.listen(Command::new("nsenter").args([net.as_str(), SSHD])), "{}", sshd.log());
        sshd
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

#[test]
fn a_session_reaches_into_a_namespace_and_nothing_else_does() {
    if !is_root_or_skipped() {
        return;
    }
    let namespace = Namespace::new("");
    let sshd = namespace.sshd("");
    let mut destination = sshd.destination();
    let outside = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap_err();
    assert!(matches!(outside, RemoteError::Connect { source: ConnectFailure::Refused, .. }), "{outside}");
    destination.namespace = Some(namespace.path());
    let session = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
    let output = session
        .run_checked(Request::new(
            "links",
            "ls /proc/self/net/dev_snmp6 /sys/class/net 2>/dev/null; readlink /proc/self/ns/net",
        ))
        .unwrap();
    let theirs = output.stdout_text().lines().last().unwrap().to_owned();
    let ours = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(theirs, ours.to_str().unwrap(), "this test's own thread changed its namespace");

    destination.host = "10.99.0.1".into();
    destination.connect_timeout = Some(Duration::from_secs(1));
    let failure = |destination| match Session::connect(destination, &sshd.known_hosts(), None).unwrap_err() {
        RemoteError::Connect { source, .. } => source,
        error => panic!("{error}"),
    };
    assert!(matches!(failure(&destination), ConnectFailure::NoRoute(_)));
    // A static neighbour entry without a machine: packets to it vanish.
    namespace.ip(&["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
    namespace.ip(&["link", "set", "v1", "up"]);
    namespace.ip(&["link", "set", "v0", "up"]);
    namespace.ip(&["address", "add", "10.99.0.2/24", "dev", "v0"]);
    namespace.ip(&["neighbour", "add", "10.99.0.1", "lladdr", "02:00:00:00:00:01", "dev", "v0"]);
    assert!(matches!(failure(&destination), ConnectFailure::NoAnswer(_)));

    destination.namespace = Some("/run/netns/rmt-test-no-such".into());
    let error = Session::connect(&destination, &sshd.known_hosts(), None).unwrap_err();
    assert!(matches!(error, RemoteError::Namespace { .. }), "{error}");
    assert!(error.hint().unwrap().contains("machinist sandbox up"));
}

#[test]
fn a_slow_link_with_key_exchanges_and_many_channels_loses_nothing() {
    if !is_root_or_skipped() {
        return;
    }
    let namespace = Namespace::new("-slow");
    // 40 Mbit/s, and so little in flight that packets are sent in parts all the time.
    let tc = ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "40mbit", "burst", "16kb", "limit", "64kb"];
    assert!(Command::new("tc").args(["-n", &namespace.0]).args(tc).status().unwrap().success());
    namespace.ip(&["link", "set", "lo", "mtu", "1500"]);
    let sshd = namespace.sshd("RekeyLimit 1M");
    let mut destination = sshd.destination();
    destination.namespace = Some(namespace.path());
    let session = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
    std::thread::scope(|scope| {
        for n in 0..3_u8 {
            let session = &session;
            scope.spawn(move || {
                let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8 ^ n).collect();
                let output = session.run_checked(Request::new(format!("cat {n}"), "cat").bytes(sent.clone())).unwrap();
                assert!(output.stdout == sent, "{} bytes came back", output.stdout.len());
            });
        }
        for n in 0..20 {
            let request = Request::new("cancelled", "cat; sleep 60")
                .reader(std::io::repeat(n))
                .timeout(Duration::from_millis(150));
            let error = session.run(request).unwrap_err();
            assert!(matches!(error, RemoteError::Timeout { .. }), "{error}");
        }
    });
    session.run_checked(Request::new("after", "true")).unwrap();
}
