//! Keys of age's plugins, with the test plugin and the `age` program as the other side.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use age_core::primitives::bech32_encode;
use bech32::Hrp;
use machinist_model::Operator;
use machinist_secrets::{
    Identities, Prompt, RecipientError, Recipients, Zeroizing, decrypt, encrypt, generate_identity, no_prompt,
    recipient_of_file,
};
use tempfile::TempDir;

/// Working directory of a test process; a process either starts with the plugin on its PATH or does not have it.
const LAB: &str = "MACHINIST_TEST_PLUGIN_LAB";

fn recipient(number: u8) -> String {
    bech32_encode(Hrp::parse("age1lab").unwrap(), &[number])
}

fn identity(number: u8) -> String {
    bech32_encode(Hrp::parse("age-plugin-lab-").unwrap(), &[number]).to_uppercase()
}

fn operator(name: &str, age: &str) -> Operator {
    Operator { name: name.to_owned(), ssh: None, age: Some(age.to_owned()) }
}

/// Runs the ignored test `name` in a process with or without the plugin on its PATH.
#[track_caller]
fn check(name: &str, with_plugin: bool) {
    let lab = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let plugin = own.parent().unwrap().with_file_name("examples").join("age-plugin-lab");
    assert!(plugin.is_file(), "{} is built by `cargo test -p machinist-secrets`", plugin.display());
    let path = std::env::var("PATH").unwrap();
    let path = if with_plugin { format!("{}:{path}", plugin.parent().unwrap().display()) } else { path };
    let arguments = ["--exact", name, "--ignored", "--nocapture"];
    let output = Command::new(own).args(arguments).env("PATH", path).env(LAB, lab.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

fn lab() -> PathBuf {
    std::env::var_os(LAB).expect("the child process of another test").into()
}

fn identity_file(lines: &[&str]) -> PathBuf {
    let file = lab().join("identity.txt");
    fs::write(&file, lines.join("\n")).unwrap();
    file
}

fn load(file: &Path, prompt: &Arc<dyn Prompt>) -> Identities {
    Identities::load(&[file.to_owned()], prompt).unwrap()
}

/// A user who knows the PIN and records the messages.
#[derive(Default)]
struct Person(Mutex<Vec<String>>);

impl Prompt for Person {
    fn passphrase(&self, _: &Path) -> Option<Zeroizing<String>> {
        None
    }

    fn message(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn confirm(&self, _: &str, _: &str, _: Option<&str>) -> Option<bool> {
        None
    }

    fn input(&self, question: &str, is_secret: bool) -> Option<Zeroizing<String>> {
        self.0.lock().unwrap().push(format!("{question} {is_secret}"));
        Some(Zeroizing::new("1234".to_owned()))
    }
}

#[test]
fn a_plugins_key_opens_what_was_encrypted_to_it() {
    check("child_opens_by_the_plugin", true);
}

#[test]
#[ignore = "the child process of another test"]
fn child_opens_by_the_plugin() {
    let operators = [operator("lab", &recipient(7)), operator("ops", generate_identity().recipient())];
    let recipients = Recipients::from_operators(&operators).unwrap();
    let file = encrypt(&recipients, b"secret").unwrap();
    let identities = load(&identity_file(&[&identity(9), &identity(7)]), &no_prompt());
    assert_eq!(&**decrypt(&identities, Path::new("f"), &file, &operators).unwrap(), b"secret");

    // The other implementation decrypts our file, and we decrypt its file.
    let path = identity_file(&[&identity(7)]);
    let ours = lab().join("ours.age");
    fs::write(&ours, &file).unwrap();
    let opened = Command::new("age").arg("-d").arg("-i").arg(&path).arg(&ours).output().unwrap();
    assert_eq!(opened.stdout, b"secret", "{}", String::from_utf8_lossy(&opened.stderr));
    let sealed = Command::new("age").args(["-a", "-r", &recipient(7)]).arg(&path).output().unwrap().stdout;
    let found = decrypt(&load(&path, &no_prompt()), Path::new("f"), &sealed, &operators).unwrap();
    assert_eq!(*found, fs::read(&path).unwrap());
}

#[test]
fn a_plugin_reaches_the_person_and_its_failure_is_not_a_damaged_file() {
    check("child_talks_to_a_person", true);
}

#[test]
#[ignore = "the child process of another test"]
fn child_talks_to_a_person() {
    let operators = [operator("lab", &recipient(1))];
    let file = encrypt(&Recipients::from_operators(&operators).unwrap(), b"secret").unwrap();
    let path = identity_file(&[&identity(1)]);
    let person = Arc::new(Person::default());
    let prompt: Arc<dyn Prompt> = Arc::<Person>::clone(&person);
    assert_eq!(&**decrypt(&load(&path, &prompt), Path::new("f"), &file, &operators).unwrap(), b"secret");
    let heard = person.0.lock().unwrap().join("|");
    assert!(heard.contains("the lab key|PIN of the lab key true"), "{heard}");

    let error = decrypt(&load(&path, &no_prompt()), Path::new("f"), &file, &operators).unwrap_err();
    assert!(error.to_string().starts_with("cannot decrypt f: an age plugin reports: "), "{error}");
    assert!(error.to_string().contains("wrong PIN"), "{error}");
    assert!(!error.hint().unwrap().contains("git checkout"));

    let absent = decrypt(&load(&identity_file(&[&identity(0)]), &no_prompt()), Path::new("f"), &file, &operators);
    assert!(absent.unwrap_err().to_string().contains("the lab key is not plugged in"));
}

#[test]
fn an_identity_file_with_a_plugins_line_still_opens_files_with_its_other_keys() {
    check("child_has_no_plugin", false);
}

#[test]
#[ignore = "the child process of another test"]
fn child_has_no_plugin() {
    let own = generate_identity();
    let operators = [operator("ops", own.recipient())];
    let recipients = Recipients::from_operators(&operators).unwrap();
    let file = encrypt(&recipients, b"secret").unwrap();
    let post_quantum = bech32_encode(Hrp::parse("age-secret-key-pq-").unwrap(), &[7; 32]).to_uppercase();
    let path = identity_file(&[&identity(7), &post_quantum, own.secret()]);
    let identities = load(&path, &no_prompt());
    assert_eq!(&**decrypt(&identities, Path::new("f"), &file, &operators).unwrap(), b"secret");

    let other = encrypt(&Recipients::from_operators(&[operator("x", generate_identity().recipient())]).unwrap(), b"s");
    let error = decrypt(&identities, Path::new("f"), &other.unwrap(), &operators).unwrap_err().to_string();
    assert!(error.contains("age-plugin-lab is not on PATH"), "{error}");
    assert!(error.contains("keys of type AGE-SECRET-KEY-PQ- are not supported"), "{error}");

    let alone = Identities::load(&[identity_file(&[&identity(7)])], &no_prompt()).unwrap_err();
    assert!(alone.to_string().ends_with("identity.txt is usable: age-plugin-lab is not on PATH"), "{alone}");

    let of_plugin = [operator("lab", &recipient(7)), operator("ops", own.recipient())];
    let missing = Recipients::from_operators(&of_plugin).unwrap_err();
    assert!(matches!(&missing, RecipientError::Plugin { operator, .. } if operator == "lab"), "{missing}");
    assert!(missing.hint().unwrap().contains("age-plugin-lab"));
    assert_eq!(Recipients::problems(&of_plugin), [], "another computer may have the plugin");
}

#[test]
fn a_plugins_recipient_is_read_from_the_comment_that_names_it() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.txt");
    fs::write(&file, format!("#    Recipient: {}\n{}\n", recipient(7), identity(7))).unwrap();
    assert_eq!(recipient_of_file(&file).unwrap(), recipient(7));
    fs::write(&file, format!("{}\n", identity(7))).unwrap();
    assert!(recipient_of_file(&file).is_err());
}
