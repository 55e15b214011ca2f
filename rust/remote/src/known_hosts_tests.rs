#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use std::process::Command;

/// Generates a key with ssh-keygen and returns its public half.
fn key(directory: &Path, name: &str, kind: &[&str]) -> HostKey {
    let path = directory.join(name);
    let made =
        Command::new("ssh-keygen").args(["-q", "-N", "", "-C", "", "-f"]).arg(&path).args(kind).status().unwrap();
    assert!(made.success());
    HostKey::from_openssh(&std::fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap()
}

fn ssh_keygen(arguments: &[&str], file: &Path) -> String {
    let output = Command::new("ssh-keygen").args(arguments).arg("-f").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let directory = tempfile::tempdir().unwrap();
    for kind in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
    ] {
        let name = kind.concat();
        let ours = key(directory.path(), &name, kind).fingerprint().to_string();
        let theirs = ssh_keygen(&["-l"], &directory.path().join(&name));
        assert_eq!(theirs.split_whitespace().nth(1), Some(ours.as_str()));
    }
}

#[test]
fn ssh_keygen_finds_a_pinned_host_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/known_hosts");
    let known = KnownHosts::load(&path).unwrap();
    let key = key(directory.path(), "k", &["-t", "ed25519"]);
    for (host, port) in [("10.0.0.2", 22), ("10.0.0.2", 2222), ("fd00::1", 22), ("Casper.magi", 22)] {
        assert!(known.pin(&host_pattern(host, port), key.clone()).unwrap());
        let found = ssh_keygen(&["-l", "-F", &host_pattern(host, port)], &path);
        assert!(found.contains(&key.fingerprint().to_string()), "{host}:{port} not found by ssh-keygen: {found}");
    }
}

#[test]
fn a_pinned_key_replaces_the_old_one_and_leaves_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let (old, new) =
        (key(directory.path(), "old", &["-t", "ed25519"]), key(directory.path(), "new", &["-t", "ed25519"]));
    std::fs::write(&path, format!("# the cluster\nzeta,alpha {} comment\n\n", old.to_openssh())).unwrap();
    let known = KnownHosts::load(&path).unwrap();
    assert!(known.pin("zeta", new.clone()).unwrap());
    assert!(!known.pin("zeta", new.clone()).unwrap(), "pinning the same key again changed the file");
    let expected = format!("# the cluster\nalpha {}\nzeta {}\n", old.to_openssh(), new.to_openssh());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(KnownHosts::load(&path).unwrap().keys("zeta"), [new]);
    assert!(known.forget("alpha").unwrap() && known.keys("alpha").is_empty());
}

#[test]
fn a_key_pinned_by_another_process_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let key = key(directory.path(), "k", &["-t", "ed25519"]);
    let (one, other) = (KnownHosts::load(&path).unwrap(), KnownHosts::load(&path).unwrap());
    one.pin("a", key.clone()).unwrap();
    other.pin("b", key).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn two_keys_of_one_host_are_both_known() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let (a, b) = (key(directory.path(), "a", &["-t", "ed25519"]), key(directory.path(), "b", &["-t", "ecdsa"]));
    std::fs::write(&path, format!("h {}\nh {}\n", a.to_openssh(), b.to_openssh())).unwrap();
    let keys = KnownHosts::load(&path).unwrap().keys("h");
    assert!(keys.contains(&a) && keys.contains(&b) && keys.len() == 2);
}

#[test]
fn foreign_lines_are_named_and_the_file_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("known_hosts");
    let key = key(directory.path(), "k", &["-t", "ed25519"]);
    let good = key.to_openssh();
    let cases = [
        (format!("|1|abc=|def= {good}"), "hashed"),
        (format!("@cert-authority * {good}"), "markers"),
        (format!("*.magi {good}"), "pattern"),
        ("host".to_owned(), "no key"),
        ("host ssh-ed25519 !!!".to_owned(), "not a public key"),
        (format!("host ssh-rsa {}", good.replace("ssh-ed25519 ", "")), "not a public key"),
        (format!("a,,b {good}"), "empty host"),
    ];
    for (line, reason) in cases {
        let text = format!("# first\n{line}\n");
        std::fs::write(&path, &text).unwrap();
        let error = KnownHosts::load(&path).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("known_hosts:2: ") && message.contains(reason), "{line}: {message}");
        assert!(error.hint().is_some());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_blob_that_is_cut_short_is_no_key() {
    for blob in [&b""[..], b"\0\0", b"\0\0\0\x0bssh-ed", b"\xff\xff\xff\xff", b"\0\0\0\0"] {
        assert_eq!(HostKey::from_blob(blob), None);
    }
}
