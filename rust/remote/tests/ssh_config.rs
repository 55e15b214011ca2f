//! The operator's SSH configuration, applied to connections with a real `ssh` and real sshds.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use machinist_remote::{Destination, KnownHosts, Remote as _, RemoteError, Request, Session, SshConfig};
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Agent, Sshd, assert_quick, closed_port, keygen, user};

/// Returns a host whose machines.nix has only the name `node`, and a configuration for it.
fn destination(config: &Arc<SshConfig>) -> Destination {
    let mut destination = Destination::new("cp1", "node");
    destination.ssh_config = Some(config.clone());
    destination
}

fn write_config(sshd: &Sshd, text: &str) -> Arc<SshConfig> {
    fs::write(sshd.path("config"), text).unwrap();
    SshConfig::of_file(&sshd.path("config"))
}

fn connect(sshd: &Sshd, config: &Arc<SshConfig>) -> Result<Session, RemoteError> {
    Session::connect(&destination(config), &sshd.known_hosts(), Some(sshd.fingerprint()))
}

fn run(session: &Session, script: &str) -> String {
    session.run_checked(Request::new("script", script).as_user()).unwrap().stdout_text().trim().to_owned()
}

/// Returns the configuration lines that lead to an sshd of a test.
fn target(sshd: &Sshd) -> String {
    format!("HostName 127.0.0.1\nPort {}\nUser {}\n", sshd.port, user())
}

/// A jump host `gate` with the lines of the operator's configuration for it.
struct Jump {
    sshd: Sshd,
    lines: String,
}

impl Jump {
    fn start(config: &str) -> Self {
        let sshd = Sshd::start_with(config);
        let known = sshd.path("known_hosts");
        fs::write(&known, format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key().to_openssh())).unwrap();
        let lines = format!(
            "Host gate\n{}IdentityFile {}\nIdentityAgent none\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\n",
            target(&sshd),
            sshd.path("id").display(),
            known.display()
        );
        Self { sshd, lines }
    }

    fn config(&self, sshd: &Sshd) -> Arc<SshConfig> {
        let id = sshd.path("id");
        let node = format!("Host node\n{}IdentityFile {}\nProxyJump gate\n", target(sshd), id.display());
        write_config(sshd, &format!("{node}{}", self.lines))
    }
}

#[test]
fn host_port_user_and_key_come_from_the_configuration_and_not_from_blocks_for_others() {
    let sshd = Sshd::start();
    // Two words, single quotes, a token and a variable; the last also leads to the root directory.
    let keys = sshd.path("my keys");
    fs::create_dir(&keys).unwrap();
    fs::rename(sshd.path("id"), keys.join("node-key")).unwrap();
    let up = "/..".repeat(20);
    let text = format!(
        "AddKeysToAgent ask\nMatch host other\n  ProxyCommand false\n  Port 1\nMatch originalhost node\n{}  IdentityFile \
         '${{CARGO_MANIFEST_DIR}}{up}{}/%n-key'\n",
        target(&sshd),
        keys.display()
    );
    let config = write_config(&sshd, &text);
    let session = connect(&sshd, &config).unwrap();
    assert_eq!((session.endpoint().host.as_str(), session.endpoint().port), ("127.0.0.1", sshd.port));
    assert_eq!(run(&session, "echo hello"), "hello");
    // The pin is for the name in machines.nix, whatever an operator's configuration maps it to.
    assert_eq!(KnownHosts::load(&sshd.path("state/known_hosts")).unwrap().keys("node"), [sshd.host_key()]);

    let other = write_config(&sshd, &format!("{text}Host *\n  IdentityAgent none\n").replace(&user(), "stranger"));
    let error = connect(&sshd, &other).unwrap_err();
    assert!(matches!(&error, RemoteError::Auth { at, .. } if at.user == "stranger"), "{error}");
    // machines.nix takes precedence over it.
    let mut said = destination(&other);
    said.user = Some(user());
    Session::connect(&said, &sshd.known_hosts(), Some(sshd.fingerprint())).unwrap();
}

#[test]
fn a_configuration_that_openssh_refuses_is_reported_before_anything_is_connected() {
    let sshd = Sshd::prepare("");
    let error = connect(&sshd, &write_config(&sshd, "Host node\n  Port many\n")).unwrap_err();
    assert_eq!(error.to_string(), "cp1: cannot determine how to connect");
    assert!(error.source().unwrap().to_string().contains("Bad port 'many'"), "{error:?}");
}

#[test]
fn a_node_behind_a_jump_host_is_reached_whatever_the_jump_host_prints() {
    let banner = tempfile::NamedTempFile::new().unwrap();
    fs::write(banner.path(), "authorised staff only\n").unwrap();
    let jump = Jump::start(&format!("Banner {}", banner.path().display()));
    let sshd = Sshd::start();
    let session = connect(&sshd, &jump.config(&sshd)).unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    let output = session.run_checked(Request::new("cat", "cat").bytes(megabyte.clone())).unwrap();
    assert!(output.stdout == megabyte);
    assert_eq!(jump.sshd.sessions().len(), 1);
    drop(session);
    let started = Instant::now();
    while !jump.sshd.sessions().is_empty() {
        assert_quick(started, Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_jump_hosts_are_passed_in_their_order() {
    let (first, second, sshd) = (Jump::start(""), Jump::start(""), Sshd::start());
    let id = sshd.path("id");
    let text = format!(
        "Host node\n{}IdentityFile {}\nProxyJump gate,{}@inner:{}\n{}{}",
        target(&sshd),
        id.display(),
        user(),
        second.sshd.port,
        first.lines,
        second.lines.replace("Host gate", "Host inner")
    );
    let session = connect(&sshd, &write_config(&sshd, &text)).unwrap();
    assert_eq!(run(&session, "echo hello"), "hello");
    assert_eq!((first.sshd.sessions().len(), second.sshd.sessions().len()), (1, 1));
}

#[test]
fn what_a_jump_host_prints_is_in_the_error_without_control_characters() {
    let banner = tempfile::NamedTempFile::new().unwrap();
    fs::write(banner.path(), "closed for maintenance\x1b]52;c;ZXZpbA==\x07\x1b[2K\n").unwrap();
    let jump = Jump::start(&format!("Banner {}", banner.path().display()));
    let mut sshd = Sshd::prepare("");
    sshd.port = closed_port();
    let started = Instant::now();
    let error = connect(&sshd, &jump.config(&sshd)).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, RemoteError::Transport { .. }), "{message}");
    assert!(error.is_connection_failure());
    assert!(message.contains("by ProxyJump gate\n"), "{message}");
    assert!(message.contains("\n  closed for maintenance"), "{message}");
    assert!(message.contains("Connection refused"), "{message}");
    assert!(!message.contains(['\x1b', '\x07']), "{message:?}");
    assert_quick(started, Duration::from_secs(5));
}

#[test]
fn a_jump_host_with_an_unknown_key_is_refused_without_a_prompt() {
    let jump = Jump::start("");
    fs::write(jump.sshd.path("known_hosts"), "").unwrap();
    let sshd = Sshd::start();
    let error = connect(&sshd, &jump.config(&sshd)).unwrap_err();
    assert!(error.to_string().contains("Host key verification failed"), "{error}");
    assert!(error.hint().unwrap().contains("answers no prompts"), "{error}");
}

#[test]
fn a_connection_that_a_jump_host_cuts_is_lost_with_its_words() {
    let (jump, sshd) = (Jump::start(""), Sshd::start());
    let session = connect(&sshd, &jump.config(&sshd)).unwrap();
    let cut = |_, _: &str| jump.sshd.sessions().into_iter().for_each(support::kill);
    let message = session.run(Request::new("work", "echo begun; sleep 60").on_line(cut)).unwrap_err().to_string();
    assert!(message.contains("lost during `work`") && message.contains("its proxy printed: "), "{message}");
}

#[test]
fn many_nodes_behind_one_jump_host_connect_at_the_same_time() {
    // sshd's own default would drop the eleventh with a probability of 30 %.
    let jump = Jump::start("MaxStartups 10:100:10");
    let sshd = Sshd::start_with("MaxStartups 100");
    let (config, known_hosts) = (jump.config(&sshd), sshd.known_hosts());
    let sessions: Vec<Session> = std::thread::scope(|scope| {
        let connect = || Session::connect(&destination(&config), &known_hosts, Some(sshd.fingerprint())).unwrap();
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(sessions.len(), 24);
}

#[test]
fn address_family_and_bind_address_are_followed() {
    let sshd = Sshd::start();
    let id = sshd.path("id");
    let text = |more: &str| format!("{}IdentityFile {}\n{more}", target(&sshd), id.display());
    let session = connect(&sshd, &write_config(&sshd, &text("BindAddress 127.0.0.42\n"))).unwrap();
    assert!(run(&session, "echo $SSH_CONNECTION").starts_with("127.0.0.42 "));
    let error = connect(&sshd, &write_config(&sshd, &text("AddressFamily inet6\n"))).unwrap_err();
    assert!(matches!(error, RemoteError::Resolve { .. }), "{error}");
    let error = connect(&sshd, &write_config(&sshd, &text("BindAddress ::1\n"))).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("BindAddress ::1"), "{error:?}");
}

fn add(agent: &Agent, key: &Path) {
    let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket).status().unwrap();
    assert!(added.success());
}

#[test]
fn the_configured_agent_offers_the_configured_key_first() {
    let sshd = Sshd::start_with("MaxAuthTries 2");
    let agent = Agent::start(&sshd.path("an agent"));
    for n in 0..5 {
        keygen(&sshd.path(&format!("other{n}")), "ed25519", "");
        add(&agent, &sshd.path(&format!("other{n}")));
    }
    add(&agent, &sshd.path("id"));
    // Only the public key stays: the private one is only in the agent.
    fs::remove_file(sshd.path("id")).unwrap();
    let text = |more: &str| {
        let (socket, id) = (agent.socket.display(), sshd.path("id.pub"));
        format!("{}IdentityAgent \"{socket}\"\nIdentityFile {}\n{more}", target(&sshd), id.display())
    };
    connect(&sshd, &write_config(&sshd, &text(""))).unwrap();
    connect(&sshd, &write_config(&sshd, &text("IdentitiesOnly yes\n"))).unwrap();

    let only = text("IdentitiesOnly yes\n").replace("id.pub", "other0.pub");
    let error = connect(&sshd, &write_config(&sshd, &only)).unwrap_err();
    let RemoteError::Auth { attempts, .. } = &error else { panic!("{error}") };
    assert_eq!(attempts.len(), 1, "{error}");
    let error = connect(&sshd, &write_config(&sshd, &text("").replace(&agent.socket.display().to_string(), "none")));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("id.pub (not usable: a public key whose private key is not in ssh-agent)"), "{error}");
}

#[test]
fn user_certificates_log_in() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let ca = tempfile::tempdir().unwrap();
        let sshd = certificate_host(kind, ca.path());
        let (id, elsewhere) = (sshd.path("user"), sshd.path("elsewhere.pub"));
        let text = |more: &str| format!("{}IdentityAgent none\nIdentityFile {}\n{more}", target(&sshd), id.display());
        connect(&sshd, &write_config(&sshd, &text(""))).unwrap();

        let agent = Agent::start(&sshd.path("agent"));
        add(&agent, &id);
        let with_agent = text("").replace("IdentityAgent none", &format!("IdentityAgent {}", agent.socket.display()));
        let with_agent = with_agent.replace(&id.display().to_string(), "none");
        let by_agent = connect(&sshd, &write_config(&sshd, &with_agent));
        match (kind, by_agent) {
            ("rsa", Err(error)) => assert!(error.to_string().contains("RSA certificates in ssh-agent"), "{error}"),
            (_, by_agent) => drop(by_agent.unwrap_or_else(|error| panic!("{kind} by agent: {error}"))),
        }

        fs::rename(sshd.path("user-cert.pub"), &elsewhere).unwrap();
        connect(&sshd, &write_config(&sshd, &text(""))).unwrap_err();
        let named = text(&format!("CertificateFile {}\n", elsewhere.display()));
        connect(&sshd, &write_config(&sshd, &named)).unwrap_or_else(|error| panic!("{kind} by file: {error}"));
    }
}

/// Returns an sshd that accepts only certificates, with a key `user` and its certificate beside it.
fn certificate_host(kind: &str, ca: &Path) -> Sshd {
    keygen(&ca.join("ca"), "ed25519", "");
    let sshd = Sshd::start_with(&format!("TrustedUserCAKeys {}", ca.join("ca.pub").display()));
    fs::write(sshd.path("authorized_keys"), "").unwrap();
    keygen(&sshd.path("user"), kind, "");
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "test", "-n", &user(), "-s"]).arg(ca.join("ca")).arg(sshd.path("user.pub"));
    assert!(sign.status().unwrap().success());
    sshd
}

#[test]
fn a_hardware_key_is_refused_with_the_reason_and_the_way_out() {
    let sshd = Sshd::start();
    let sk: PathBuf = sshd.path("id_ed25519_sk.pub");
    let line = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gAAAABHNzaDo= me\n";
    fs::write(&sk, line).unwrap();
    let text = format!("{}IdentityAgent none\nIdentityFile {}\n", target(&sshd), sk.display());
    let error = connect(&sshd, &write_config(&sshd, &text)).unwrap_err();
    assert!(error.to_string().contains("id_ed25519_sk.pub (a hardware key, sk-: not supported)"), "{error}");
    assert!(error.hint().unwrap().contains("--ssh-key"), "{error}");
    // Another key beside it does.
    let both = format!("{text}IdentityFile {}\n", sshd.path("id").display());
    connect(&sshd, &write_config(&sshd, &both)).unwrap();
}

#[test]
fn settings_that_give_other_logins_are_named_when_no_key_is_accepted() {
    let sshd = Sshd::start();
    let text = format!("{}PKCS11Provider /no/library.so\nIdentityAgent none\n", target(&sshd));
    let error = connect(&sshd, &write_config(&sshd, &text)).unwrap_err().to_string();
    assert!(error.contains("PKCS11Provider /no/library.so (not usable: "), "{error}");
    let text = format!("{}PubkeyAuthentication no\n", target(&sshd));
    let error = connect(&sshd, &write_config(&sshd, &text)).unwrap_err().to_string();
    assert!(error.contains("PubkeyAuthentication no (not usable: "), "{error}");
}

#[test]
fn what_a_proxy_command_prints_is_in_the_error_without_control_characters() {
    let sshd = Sshd::prepare("");
    let config = write_config(&sshd, "ProxyCommand printf 'no way to %h\\033]52;c;ZXZpbA==\\007\\n' >&2; exit 3\n");
    let message = connect(&sshd, &config).unwrap_err().to_string();
    assert!(message.contains("\n  no way to node\u{fffd}]52"), "{message:?}");
    assert!(!message.contains(['\x1b', '\x07']), "{message:?}");
}
