//! Test of the certificates with a real etcd, three members on loopback, and a real `etcdctl`.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Lab, run};
use machinist_model::NodeName;
use time::OffsetDateTime;

struct Member {
    name: NodeName,
    client: String,
    peer: String,
    process: Option<Child>,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn start(lab: &Lab) -> Vec<Member> {
    let ports = free_ports(6);
    let url = |port: u16| format!("https://127.0.0.1:{port}");
    let names = lab.inventory().nodes.into_keys();
    let mut members: Vec<_> = names
        .zip(ports.chunks(2))
        .map(|(name, ports)| Member { name, client: url(ports[0]), peer: url(ports[1]), process: None })
        .collect();
    let cluster: Vec<_> = members.iter().map(|member| format!("{}={}", member.name, member.peer)).collect();
    for member in &mut members {
        member.process = Some(spawn(lab, member, &cluster.join(",")));
    }
    members
}

fn spawn(lab: &Lab, member: &Member, cluster: &str) -> Child {
    let node = member.name.as_str();
    let certificate = |leaf: &str| lab.certs().join(format!("nodes/{node}/{leaf}.pem"));
    let authority = lab.certs().join("authorities/etcd.pem");
    let mut command = Command::new("etcd");
    command
        .args(["--name", node, "--client-cert-auth", "--peer-client-cert-auth", "--peer-cert-allowed-cn", &peer_name()])
        .args(["--initial-cluster", cluster, "--initial-cluster-state", "new"])
        .args(["--listen-client-urls", &member.client, "--advertise-client-urls", &member.client])
        .args(["--listen-peer-urls", &member.peer, "--initial-advertise-peer-urls", &member.peer]);
    for (flag, path) in [
        ("--data-dir", lab.scratch(&format!("{node}.etcd"))),
        ("--trusted-ca-file", authority.clone()),
        ("--cert-file", certificate("etcd-server")),
        ("--key-file", lab.plaintext_key(node, "etcd-server")),
        ("--peer-trusted-ca-file", authority),
        ("--peer-cert-file", certificate("etcd-peer")),
        ("--peer-key-file", lab.plaintext_key(node, "etcd-peer")),
    ] {
        command.arg(flag).arg(path);
    }
    let log = fs::File::create(lab.scratch(&format!("{node}.log"))).unwrap();
    command.stdout(Stdio::null()).stderr(log);
    match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("this test needs `etcd` (the Debian package etcd-server): {error}"),
    }
}

/// Returns the name that modules/etcd.nix admits at the peer port.
fn peer_name() -> String {
    let module = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../modules/etcd.nix")).unwrap();
    let (_, rest) = module.split_once("PEER_CERT_ALLOWED_CN = lib.mkDefault \"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Returns the peer port's response to a client certificate: a status, or nothing if the connection is closed.
fn members_of(lab: &Lab, member: &Member, (certificate, key): &Pair) -> String {
    let url = format!("{}/members", member.peer);
    let authority = lab.certs().join("authorities/etcd.pem");
    let paths = [&authority, certificate, key].map(|path| path.to_str().unwrap());
    let arguments =
        ["--silent", "--http1.1", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}"];
    let tls = ["--cacert", paths[0], "--cert", paths[1], "--key", paths[2], &*url];
    String::from_utf8(run("curl", &[&arguments[..], &tls[..]].concat()).stdout).unwrap()
}

/// A client certificate and its key.
type Pair = (PathBuf, PathBuf);

fn health(lab: &Lab, endpoints: &str, pair: Option<&Pair>) -> Output {
    let authority = lab.certs().join("authorities/etcd.pem");
    let mut arguments =
        vec!["--endpoints", endpoints, "--cacert", authority.to_str().unwrap(), "--command-timeout", "2s"];
    if let Some((certificate, key)) = pair {
        arguments.extend(["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()]);
    }
    arguments.extend(["endpoint", "health"]);
    run("etcdctl", &arguments)
}

fn operator(lab: &Lab) -> Pair {
    let inventory = lab.inventory();
    let entry = &inventory.operators["etcd-operator"];
    let key = lab.scratch("operator.key");
    fs::write(&key, &*inventory.key(entry, &lab.identities(), &lab.cluster.operators).unwrap()).unwrap();
    (lab.root().join(&entry.certificate), key)
}

fn logs(lab: &Lab, members: &[Member]) -> String {
    let read = |member: &Member| fs::read_to_string(lab.scratch(&format!("{}.log", member.name))).unwrap_or_default();
    members.iter().map(read).collect()
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    // etcd uses the real clock.
    lab.now = OffsetDateTime::now_utc();
    lab.update().unwrap();
    lab
}

#[test]
fn etcd_is_healthy_for_our_clients_and_refuses_all_others() {
    let lab = lab();
    let members = start(&lab);
    let endpoints: Vec<_> = members.iter().map(|member| member.client.as_str()).collect();
    let endpoints = endpoints.join(",");
    let ours = operator(&lab);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let output = health(&lab, &endpoints, Some(&ours));
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert_eq!(text.matches("is healthy").count(), 3, "{text}");
            break;
        }
        assert!(Instant::now() < deadline, "{text}\n{}", logs(&lab, &members));
        thread::sleep(Duration::from_millis(100));
    }
    let node = |leaf: &str| -> Pair {
        (lab.certs().join(format!("nodes/casper/{leaf}.pem")), lab.plaintext_key("casper", leaf))
    };
    assert!(health(&lab, &endpoints, Some(&node("etcd-healthcheck-client"))).status.success());
    // Peers identify each other by the name in their certificates, not by address: all are 127.0.0.1 here.
    assert_eq!(members_of(&lab, &members[0], &node("etcd-peer")), "200");
    for leaf in ["etcd-healthcheck-client", "etcd-server"] {
        assert_eq!(members_of(&lab, &members[0], &node(leaf)), "000", "{leaf}");
    }
    assert_eq!(members_of(&lab, &members[0], &ours), "000", "the operators' certificate");
    // No certificate, and one of an authority with the same name but another key. A missing response proves nothing:
    // the reason why the handshake failed is in the member's own log.
    let other = self::lab();
    let refusals = [
        (None, "client didn't provide a certificate"),
        (Some(operator(&other)), "certificate signed by unknown authority"),
    ];
    for (foreign, reason) in refusals {
        assert!(!logs(&lab, &members).contains(reason), "refused before the query: {reason}");
        let output = health(&lab, &endpoints, foreign.as_ref());
        assert!(!output.status.success());
        assert!(!String::from_utf8_lossy(&output.stderr).contains("is healthy"));
        let logs = logs(&lab, &members);
        assert!(logs.contains(reason), "no member refused it, wanted: {reason}\n{logs}");
    }
}
