//! Connecting, host keys and logins, against a real sshd.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use machinist_remote::{ConnectFailure, KnownHosts, Remote as _, RemoteError, Request, Session, SshConfig};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Agent, Sshd, assert_quick, closed_port, keygen, keygen_fingerprint};

#[test]
fn an_unknown_host_is_refused_with_its_fingerprint_and_the_command_that_accepts_it() {
    let sshd = Sshd::start();
    let error = Session::connect(&sshd.destination(), &sshd.known_hosts(), None).unwrap_err();
    let fingerprint = keygen_fingerprint(&sshd.path("host_key.pub"));
    assert!(matches!(error, RemoteError::HostKeyUnknown { .. }), "{error}");
    assert!(error.to_string().contains(&format!("ssh-ed25519 {fingerprint}")), "{error}");
    assert!(error.hint().unwrap().ends_with(&format!("machinist deploy cp1 --accept-host-key {fingerprint}")));
    assert!(!sshd.path("state/known_hosts").exists());
}

#[test]
fn an_accepted_fingerprint_is_pinned_and_holds_from_then_on() {
    let sshd = Sshd::start();
    let known_hosts = sshd.known_hosts();
    Session::connect(&sshd.destination(), &known_hosts, Some(sshd.fingerprint())).unwrap();
    let line = format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key().to_openssh());
    assert_eq!(std::fs::read_to_string(known_hosts.path()).unwrap(), line);
    Session::connect(&sshd.destination(), &sshd.known_hosts(), None).unwrap();
}

#[test]
fn a_key_that_is_pinned_for_another_node_is_refused_accepted_or_not() {
    let sshd = Sshd::start();
    let here = format!("[127.0.0.1]:{}", sshd.port);
    let key = sshd.host_key().to_openssh();
    let nodes = || [(here.clone(), "cp1".to_owned()), ("192.0.2.7".to_owned(), "cp2".to_owned())].into();
    let pins = sshd.path("pins");
    let connect = |accept| {
        let known_hosts = KnownHosts::load(&pins).unwrap().of_nodes(nodes());
        Session::connect(&sshd.destination(), &known_hosts, accept).map(drop)
    };
    for (text, accept) in
        [(format!("192.0.2.7 {key}\n"), Some(sshd.fingerprint())), (format!("192.0.2.7 {key}\n{here} {key}\n"), None)]
    {
        std::fs::write(&pins, &text).unwrap();
        let error = connect(accept).unwrap_err();
        assert!(matches!(&error, RemoteError::HostKeyOfOther { other, .. } if other == "cp2"), "{error}");
        assert_eq!(std::fs::read_to_string(&pins).unwrap(), text, "nothing was pinned");
    }
    // The line of a machine that has moved belongs to no node.
    std::fs::write(&pins, format!("192.0.2.8 {key}\n")).unwrap();
    connect(Some(sshd.fingerprint())).unwrap();
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints_until_it_is_accepted() {
    let sshd = Sshd::start();
    keygen(&sshd.path("old"), "ed25519", "");
    let old = std::fs::read_to_string(sshd.path("old.pub")).unwrap();
    std::fs::write(sshd.path("pins"), format!("[127.0.0.1]:{} {old}", sshd.port)).unwrap();
    let known_hosts = KnownHosts::load(&sshd.path("pins")).unwrap();
    let (pinned, found) = (keygen_fingerprint(&sshd.path("old.pub")), keygen_fingerprint(&sshd.path("host_key.pub")));
    for accept in [None, Some(pinned.parse().unwrap())] {
        let error = Session::connect(&sshd.destination(), &known_hosts, accept).unwrap_err();
        assert!(matches!(error, RemoteError::HostKeyChanged { .. }), "{error}");
        assert!(error.to_string().contains(&format!("pinned is {pinned}, it offers ssh-ed25519 {found}")), "{error}");
        assert!(error.hint().unwrap().contains(&format!("machinist deploy cp1 --accept-host-key {found}")));
    }
    Session::connect(&sshd.destination(), &known_hosts, Some(found.parse().unwrap())).unwrap();
    assert_eq!(std::fs::read_to_string(sshd.path("pins")).unwrap().lines().count(), 1);
    Session::connect(&sshd.destination(), &known_hosts, None).unwrap();
}

#[test]
fn a_host_with_several_keys_does_not_appear_changed() {
    let sshd = Sshd::prepare("");
    for kind in ["ecdsa", "rsa"] {
        keygen(&sshd.path(kind), kind, "");
    }
    let config = format!("HostKey {}\nHostKey {}", sshd.path("ecdsa").display(), sshd.path("rsa").display());
    let server = Sshd::start_with(&config);
    for kind in ["ecdsa", "rsa"] {
        let key = std::fs::read_to_string(sshd.path(&format!("{kind}.pub"))).unwrap();
        std::fs::write(server.path(kind), format!("[127.0.0.1]:{} {key}", server.port)).unwrap();
        let known_hosts = KnownHosts::load(&server.path(kind)).unwrap();
        Session::connect(&server.destination(), &known_hosts, None).unwrap();
    }
}

#[test]
fn a_login_that_fails_lists_what_was_tried() {
    let sshd = Sshd::start();
    keygen(&sshd.path("other"), "ed25519", "");
    keygen(&sshd.path("locked"), "ed25519", "a passphrase");
    let mut destination = sshd.destination();
    destination.identity_files = vec![sshd.path("other"), sshd.path("locked"), sshd.path("missing")];
    destination.fallback_identity_files = vec![sshd.path("not-there-either")];
    destination.agent_socket = Some(sshd.path("no-agent"));
    let error = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap_err();
    let message = error.to_string();
    for part in [
        "other (refused: ",
        "locked (encrypted, and not in ssh-agent)",
        "missing (not usable: ",
        "no-agent (not usable: ",
    ] {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert!(!message.contains("not-there-either"), "{message}");
    assert_eq!(
        error.hint().unwrap(),
        format!("add the encrypted key to ssh-agent: ssh-add {}", sshd.path("locked").display())
    );
}

#[test]
fn keys_of_every_usual_kind_log_in() {
    for (kind, nested) in [("ecdsa", "id_ecdsa"), ("rsa", "id_rsa")] {
        let sshd = Sshd::start();
        keygen(&sshd.path(nested), kind, "");
        std::fs::copy(sshd.path(&format!("{nested}.pub")), sshd.path("authorized_keys")).unwrap();
        let mut destination = sshd.destination();
        destination.identity_files.clear();
        destination.fallback_identity_files = vec![sshd.path(nested)];
        Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
    }
}

#[test]
fn an_agent_logs_in_with_a_key_that_is_nowhere_else() {
    let sshd = Sshd::start();
    let agent = Agent::start(&sshd.path("agent"));
    let added =
        Command::new("ssh-add").arg("-q").arg(sshd.path("id")).env("SSH_AUTH_SOCK", &agent.socket).status().unwrap();
    assert!(added.success());
    std::fs::remove_file(sshd.path("id")).unwrap();
    let mut destination = sshd.destination();
    destination.identity_files.clear();
    destination.agent_socket = Some(agent.socket.clone());
    let session = Session::connect(&destination, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
    session.run_checked(Request::new("true", "true")).unwrap();
}

#[test]
fn ssh_config_and_its_proxy_command_are_followed() {
    let sshd = Sshd::prepare("");
    let config = format!(
        "Host inner\n  HostName 192.0.2.9\n  User {}\n  IdentityFile {}\n  ProxyCommand {} -i -f {}\n",
        support::user(),
        sshd.path("id").display(),
        support::SSHD,
        sshd.path("sshd_config").display()
    );
    std::fs::write(sshd.path("config"), config).unwrap();
    let mut destination = machinist_remote::Destination::new("cp1", "inner");
    destination.ssh_config = Some(SshConfig::of_file(&sshd.path("config")));
    let known_hosts = sshd.known_hosts();
    let session = Session::connect(&destination, &known_hosts, Some(sshd.fingerprint())).unwrap();
    assert_eq!(session.run_checked(Request::new("echo", "cat").bytes("hello")).unwrap().stdout_text(), "hello");
    assert_eq!(session.endpoint().host, "192.0.2.9");
    assert_eq!(known_hosts.keys("inner"), [sshd.host_key()]);
}

#[test]
fn a_closed_port_is_refused() {
    let sshd = Sshd::prepare("");
    let mut destination = sshd.destination();
    destination.port = Some(closed_port());
    let error = Session::connect(&destination, &sshd.known_hosts(), None).unwrap_err();
    assert!(matches!(error, RemoteError::Connect { source: ConnectFailure::Refused, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("sshd runs on 127.0.0.1 and listens on port"));
}

#[test]
fn a_name_without_an_address_is_named() {
    let sshd = Sshd::prepare("");
    let mut destination = sshd.destination();
    destination.host = "no-such-host.invalid".into();
    let error = Session::connect(&destination, &sshd.known_hosts(), None).unwrap_err();
    assert!(matches!(error, RemoteError::Resolve { .. }), "{error:?}");
    assert_eq!(error.to_string(), "cp1: cannot resolve no-such-host.invalid");
}

#[test]
fn a_listener_that_never_speaks_is_given_up() {
    let sshd = Sshd::prepare("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut destination = sshd.destination();
    destination.port = Some(listener.local_addr().unwrap().port());
    destination.connect_timeout = Some(Duration::from_millis(500));
    let started = Instant::now();
    let error = Session::connect(&destination, &sshd.known_hosts(), None).unwrap_err();
    assert!(matches!(error, RemoteError::Handshake { .. }), "{error:?}");
    assert_quick(started, Duration::from_secs(3));
}

#[test]
fn connecting_is_quick() {
    let sshd = Sshd::start();
    let known_hosts = sshd.known_hosts();
    Session::connect(&sshd.destination(), &known_hosts, Some(sshd.fingerprint())).unwrap();
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let started = Instant::now();
            let session = Session::connect(&sshd.destination(), &known_hosts, None).unwrap();
            session.run_checked(Request::new("true", "true")).unwrap();
            started.elapsed()
        })
        .collect();
    times.sort();
    let session = Session::connect(&sshd.destination(), &known_hosts, None).unwrap();
    let started = Instant::now();
    (0..50).for_each(|_| drop(session.run_checked(Request::new("true", "true")).unwrap()));
    eprintln!("connect, log in and `true`: {:?} (median of 9); `true` alone: {:?}", times[4], started.elapsed() / 50);
    // Far above the normal time; a second would mean that something waits for a timeout.
    assert!(times[4] < Duration::from_secs(1), "{times:?}");
}
