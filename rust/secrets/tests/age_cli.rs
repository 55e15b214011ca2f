//! Interoperability with the `age` program, an independent implementation: each side decrypts the other's files.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use machinist_model::Operator;
use machinist_secrets::{
    Identities, IdentityError, Note, Prompt, Recipients, Zeroizing, decrypt, encrypt, encrypt_about, encrypt_to,
    generate_identity, no_prompt, recipient_of_file, write_private,
};
use tempfile::TempDir;

/// Runs a program with the text as its input, and returns its output.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("this test needs `{program}` (a Debian package): {error}"),
    };
    let mut stdin = child.stdin.take().unwrap();
    // In a thread, as the program writes while it reads.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A prompt that knows one passphrase.
struct Words(&'static str);

impl Prompt for Words {
    fn passphrase(&self, _: &Path) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new(self.0.to_owned()))
    }

    fn message(&self, _: &str) {}

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn input(&self, _: &str, _: bool) -> Option<Zeroizing<String>> {
        None
    }
}

fn operator(name: &str, ssh: Option<String>, age: Option<String>) -> Operator {
    Operator { name: name.to_owned(), ssh, age }
}

fn ssh_key(directory: &TempDir, kind: &str, passphrase: &str) -> PathBuf {
    let path = directory.path().join(format!("id_{kind}"));
    let file = path.to_str().unwrap();
    run("ssh-keygen", &["-q", "-t", kind, "-b", "2048", "-N", passphrase, "-C", kind, "-f", file], b"");
    path
}

fn public(key: &Path) -> String {
    fs::read_to_string(key.with_extension("pub")).unwrap()
}

fn age_identity(directory: &TempDir) -> (PathBuf, String) {
    let path = directory.path().join("identity.txt");
    let identity = generate_identity();
    write_private(&path, identity.secret().as_bytes()).unwrap();
    (path, identity.recipient().to_owned())
}

fn load(path: &Path) -> Result<Identities, IdentityError> {
    Identities::load(&[path.to_owned()], &no_prompt())
}

/// Checks that our file is decrypted by `age` and by us, and theirs by us.
#[track_caller]
fn check(identity: &Path, recipient: &str, operators: &[Operator]) {
    let recipients = Recipients::from_operators(operators).unwrap();
    for plaintext in [&b""[..], b"secret\n", &[0xff; 200_000]] {
        let ours = encrypt(&recipients, plaintext).unwrap();
        assert!(ours.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert_eq!(run("age", &["-d", "-i", identity.to_str().unwrap()], &ours), plaintext);
        let identities = load(identity).unwrap();
        assert_eq!(&**decrypt(&identities, Path::new("ours"), &ours, operators).unwrap(), plaintext);
        let theirs = run("age", &["-a", "-r", recipient], plaintext);
        assert_eq!(&**decrypt(&identities, Path::new("theirs"), &theirs, operators).unwrap(), plaintext);
    }
}

#[test]
fn an_age_identity_opens_what_either_program_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let (path, recipient) = age_identity(&directory);
    assert_eq!(recipient_of_file(&path).unwrap(), recipient);
    let keygen = run("age-keygen", &["-y", path.to_str().unwrap()], b"");
    assert_eq!(String::from_utf8_lossy(&keygen).trim_end(), recipient);
    check(&path, &recipient, &[operator("ops", None, Some(recipient.clone()))]);
}

#[test]
fn an_identity_of_age_keygen_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.txt");
    run("age-keygen", &["-o", path.to_str().unwrap()], b"");
    let recipient = recipient_of_file(&path).unwrap();
    check(&path, &recipient, &[operator("ops", None, Some(recipient.clone()))]);
}

#[test]
fn ssh_keys_open_what_either_program_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["ed25519", "rsa"] {
        let path = ssh_key(&directory, kind, "");
        check(&path, public(&path).trim_end(), &[operator("ops", Some(public(&path)), None)]);
    }
}

#[test]
fn each_of_many_operators_can_open_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let (path, recipient) = age_identity(&directory);
    let ssh = ssh_key(&directory, "ed25519", "");
    let operators = [operator("alice", None, Some(recipient.clone())), operator("bob", Some(public(&ssh)), None)];
    check(&path, &recipient, &operators);
    check(&ssh, public(&ssh).trim_end(), &operators);
}

#[test]
fn a_protected_ssh_key_prompts_for_its_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let path = ssh_key(&directory, "ed25519", "correct horse");
    let operators = [operator("ops", Some(public(&path)), None)];
    let file = encrypt(&Recipients::from_operators(&operators).unwrap(), b"secret").unwrap();
    let with = |words: &'static str| {
        let prompt: Arc<dyn Prompt> = Arc::new(Words(words));
        Identities::load(std::slice::from_ref(&path), &prompt)
    };
    let identities = with("correct horse").unwrap();
    assert_eq!(&**decrypt(&identities, Path::new("f"), &file, &operators).unwrap(), b"secret");
    let shown = path.display();
    assert_eq!(with("battery staple").unwrap_err().to_string(), format!("wrong passphrase for {shown}"));
    let none = load(&path).unwrap_err().to_string();
    assert_eq!(none, format!("{shown} is protected by a passphrase, but none was given"));
}

#[test]
fn a_file_says_what_it_is_about_and_for_whom() {
    let directory = tempfile::tempdir().unwrap();
    let (path, recipient) = age_identity(&directory);
    let operators = [operator("ops", None, Some(recipient.clone()))];
    let file = encrypt_about(&Recipients::from_operators(&operators).unwrap(), "0123456789abcdef", b"secret").unwrap();
    let note = Note::read(&file).unwrap();
    assert_eq!(note, Note { about: Some("0123456789abcdef".to_owned()), recipients: vec![recipient] });
    // The age program skips the note.
    assert_eq!(run("age", &["-d", "-i", path.to_str().unwrap()], &file), b"secret");
}

#[test]
fn a_wrong_identity_gives_an_error_that_names_the_recipients() {
    let directory = tempfile::tempdir().unwrap();
    let ssh = ssh_key(&directory, "ed25519", "");
    let (gone, gone_recipient) = age_identity(&directory);
    fs::remove_file(&gone).unwrap();
    let then = [operator("alice", Some(public(&ssh)), None), operator("bob", None, Some(gone_recipient.clone()))];
    let file = encrypt(&Recipients::from_operators(&then).unwrap(), b"secret").unwrap();
    let (wrong, _) = age_identity(&directory);
    // Bob has left in the meantime.
    let error = decrypt(&load(&wrong).unwrap(), Path::new("certs/etcd.key.age"), &file, &then[..1]).unwrap_err();
    let fingerprint = run("ssh-keygen", &["-l", "-f", ssh.to_str().unwrap()], b"");
    let fingerprint = String::from_utf8(fingerprint).unwrap();
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot decrypt certs/etcd.key.age: tried {}; it is encrypted for alice (ssh-ed25519:{fingerprint}), \
             {gone_recipient} (not an operator of machines.nix)",
            wrong.display()
        )
    );
    assert!(error.hint().unwrap().contains("MACHINIST_IDENTITY"));
    // A file of another program has no note.
    let theirs = run("age", &["-a", "-r", &gone_recipient], b"secret");
    let error = decrypt(&load(&wrong).unwrap(), Path::new("f"), &theirs, &then[..1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot decrypt f: tried {}; it does not name its recipients; the operators are alice \
             (ssh-ed25519:{fingerprint})",
            wrong.display()
        )
    );
}

#[test]
fn a_file_cut_off_or_changed_at_any_place_is_named_and_never_half_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, recipient) = age_identity(&directory);
    let operators = [operator("ops", None, Some(recipient))];
    let identities = load(&path).unwrap();
    let file = encrypt(&Recipients::from_operators(&operators).unwrap(), b"secret").unwrap();
    let end = file.trim_ascii_end().len();
    for length in (0..end).step_by(7) {
        let error = decrypt(&identities, Path::new("certs/x.key.age"), &file[..length], &operators).unwrap_err();
        assert!(error.to_string().starts_with("certs/x.key.age is "), "{length}: {error}");
        assert!(error.hint().unwrap().contains("version control"));
    }
    for place in (0..end).step_by(11) {
        let mut changed = file.clone();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        assert!(decrypt(&identities, Path::new("f"), &changed, &operators).is_err(), "{place}");
    }
}

#[track_caller]
fn check_unloadable(content: &str, expect: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity");
    fs::write(&path, content).unwrap();
    let error = load(&path).unwrap_err();
    assert_eq!(error.to_string().replace(&path.display().to_string(), "FILE"), expect);
}

#[test]
fn a_file_that_holds_no_identity_is_named_and_its_content_is_not_shown() {
    check_unloadable("", "FILE contains no identity");
    check_unloadable("# only a comment\n", "FILE contains no identity");
    check_unloadable(
        "# key\nAGE-SECRET-KEY-1OOPS\n",
        "FILE:2: neither `AGE-SECRET-KEY-1...`, `AGE-PLUGIN-...` nor a comment",
    );
    check_unloadable("\u{0}\u{fffd}", "FILE:1: neither `AGE-SECRET-KEY-1...`, `AGE-PLUGIN-...` nor a comment");
    check_unloadable(
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n",
        "age cannot use the SSH key FILE: it is not a complete OpenSSH private key",
    );
    check_unloadable("-----BEGIN AGE ENCRYPTED FILE-----\n", "the identity file FILE is itself encrypted");
    let missing = Identities::find(&["/nonexistent/a".into(), "/nonexistent/b".into()], &no_prompt()).unwrap_err();
    assert_eq!(missing.to_string(), "no age identity found: looked for /nonexistent/a, /nonexistent/b");
}

#[test]
fn nothing_shows_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = age_identity(&directory);
    let identity = generate_identity();
    let pair = machinist_secrets::SshKeyPair::generate("casper").unwrap();
    for shown in [format!("{:?}", load(&path).unwrap()), format!("{identity:?}"), format!("{pair:?}")] {
        assert!(!shown.contains("SECRET") && !shown.contains("PRIVATE"), "{shown}");
    }
    assert!(identity.secret().contains("AGE-SECRET-KEY-1"));
    assert!(pair.private().contains("PRIVATE"));
}

#[test]
fn the_age_program_opens_what_was_written_piece_by_piece_and_nothing_that_is_cut() {
    let directory = TempDir::new().unwrap();
    let (identity, recipient) = age_identity(&directory);
    let recipients = Recipients::from_operators(&[operator("ann", None, Some(recipient))]).unwrap();
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut writer = encrypt_to(&recipients, Vec::new()).unwrap();
    content.chunks(7_777).for_each(|piece| writer.write_all(piece).unwrap());
    let whole = writer.finish().unwrap();
    assert_eq!(run("age", &["--decrypt", "--identity", identity.to_str().unwrap()], &whole), content);
    let cut = directory.path().join("cut.age");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let mut age = Command::new("age");
    age.args(["--decrypt", "--identity", identity.to_str().unwrap(), "--output", "/dev/null", cut.to_str().unwrap()]);
    assert!(!age.output().unwrap().status.success());
}
