//! Both ways with the real sops: what we write it decrypts to the same text, what it writes we read and edit. Runs where
//! `MACHINIST_SOPS` names its program (`tests/secrets/run` does that).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Output},
};

use age::{
    armor::{ArmoredReader, ArmoredWriter, Format as Armor},
    secrecy::ExposeSecret as _,
    x25519,
};
use machinist_sops::{Document, Format, Opened, Rule, Slot, Step, create, value};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

struct Sops {
    program: PathBuf,
    directory: tempfile::TempDir,
    identity: x25519::Identity,
}

impl Sops {
    fn find() -> Option<Self> {
        let program = PathBuf::from(std::env::var_os("MACHINIST_SOPS")?);
        let directory = tempfile::tempdir().unwrap();
        let identity = x25519::Identity::generate();
        std::fs::write(directory.path().join("key"), identity.to_string().expose_secret()).unwrap();
        Some(Self { program, directory, identity })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .current_dir(self.directory.path())
            .env("SOPS_AGE_KEY_FILE", self.path("key"))
            .env("SOPS_DISABLE_VERSION_CHECK", "1")
            .output()
            .unwrap()
    }

    fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    fn slot(&self, key: &[u8]) -> Slot {
        Slot { recipient: self.recipient(), enc: wrap(&self.identity, key) }
    }

    /// Decrypts with the real sops, which must not warn.
    fn decrypt(&self, name: &str, text: &[u8]) -> Vec<u8> {
        std::fs::write(self.path(name), text).unwrap();
        let output = self.run(&["decrypt", name]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{error}\n{}", String::from_utf8_lossy(text));
        output.stdout
    }

    fn decrypt_with_warnings(&self, name: &str, text: &[u8]) -> Vec<u8> {
        std::fs::write(self.path(name), text).unwrap();
        let output = self.run(&["decrypt", name]);
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(text)
        );
        output.stdout
    }

    /// Encrypts with the real sops.
    fn encrypt(&self, name: &str, text: &[u8], more: &[&str]) -> Vec<u8> {
        std::fs::write(self.path(name), text).unwrap();
        let recipient = self.recipient();
        let output = self.run(&[&["encrypt", "--age", &recipient], more, &[name]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}\n{}", String::from_utf8_lossy(text));
        output.stdout
    }

    fn open(&self, name: &str, text: &[u8]) -> Opened {
        let document = Document::parse(Format::of_name(name), text)
            .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(text)));
        let key = document.data_key(|slot| unwrap(&self.identity, &slot.enc)).unwrap();
        document.open(key).unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(text)))
    }

    fn create(&self, name: &str, plain: &[u8], rule: &Rule) -> String {
        let key = value::new_key().unwrap();
        create(Format::of_name(name), plain, rule, &key, &[self.slot(&*key)], now())
            .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(plain)))
    }
}

fn wrap(identity: &x25519::Identity, key: &[u8]) -> String {
    let recipient = identity.to_public();
    let encryptor = age::Encryptor::with_recipients([&recipient as &dyn age::Recipient].into_iter()).unwrap();
    let armor = ArmoredWriter::wrap_output(Vec::new(), Armor::AsciiArmor).unwrap();
    let mut output = encryptor.wrap_output(armor).unwrap();
    output.write_all(key).unwrap();
    String::from_utf8(output.finish().unwrap().finish().unwrap()).unwrap()
}

fn unwrap(identity: &x25519::Identity, enc: &str) -> Option<Zeroizing<Vec<u8>>> {
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(enc.as_bytes())).ok()?;
    let mut key = Zeroizing::new(Vec::new());
    decryptor.decrypt([identity as &dyn age::Identity].into_iter()).ok()?.read_to_end(&mut key).ok()?;
    Some(key)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
}

/// The data of a YAML text, as the real sops sees it: comments and formatting do not count.
fn data(sops: &Sops, name: &str, text: &[u8]) -> Vec<u8> {
    if ![".yaml", ".json", ".ini"].iter().any(|end| name.ends_with(end)) {
        return text.to_vec();
    }
    // By sops alone, into JSON, with nothing encrypted: comments in lists that it encrypts it cannot read.
    let encrypted = sops.encrypt(name, text, &["--encrypted-regex", "^never$"]);
    std::fs::write(sops.path(name), encrypted).unwrap();
    let output = sops.run(&["decrypt", "--output-type", "json", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

const YAML: &str = r#"# A heading
database:
    # for the application
    user: app
    password: "p@ss: word" # inline
    port: 5432
    ratio: 0.50
    on: true
    nothing: null
    empty: ""
list:
    - one
    # between
    - two
    - a: 1
      b: x
flow: {a: 1, b: [x, "y, z"]}
text: |
    line one
      line two

    line four
folded: >-
    some
    words
plain_unencrypted: visible
last: 'it''s'
# The end
"#;

fn check_both_ways(sops: &Sops, name: &str, plain: &[u8], rule: &Rule, arguments: &[&str]) {
    // Ours, read by sops.
    let ours = sops.create(name, plain, rule);
    let read = sops.decrypt(name, ours.as_bytes());
    assert_eq!(
        String::from_utf8_lossy(&data(sops, name, &read)),
        String::from_utf8_lossy(&data(sops, name, plain)),
        "{ours}"
    );
    // Ours, read by us.
    let opened = sops.open(name, ours.as_bytes());
    assert_eq!(
        String::from_utf8_lossy(&data(sops, name, &opened.plain().unwrap())),
        String::from_utf8_lossy(&data(sops, name, plain)),
        "{ours}"
    );
    // Nothing changed: only the checksum and the time do.
    let again = opened.with_plain(&opened.plain().unwrap(), now()).unwrap();
    assert_eq!(without_mac(&again), without_mac(&ours));
    // The one of sops, read by us.
    let theirs = sops.encrypt(name, plain, arguments);
    let is_item = |line: &str| line.trim_start().starts_with("- ENC[") && line.ends_with("type:comment]");
    if String::from_utf8_lossy(&theirs).lines().any(is_item) {
        // sops made an item of a comment in a list, and cannot read the file: nor can we, and we say so.
        std::fs::write(sops.path(name), &theirs).unwrap();
        assert_eq!(sops.run(&["decrypt", name]).status.code(), Some(51));
        return;
    }
    let opened = sops.open(name, &theirs);
    let mine = opened.plain().unwrap();
    assert!(!String::from_utf8_lossy(&mine).contains("ENC["), "{}", String::from_utf8_lossy(&mine));
    assert_eq!(
        String::from_utf8_lossy(&data(sops, name, &mine)),
        String::from_utf8_lossy(&data(sops, name, plain)),
        "{}",
        String::from_utf8_lossy(&theirs)
    );
    // And edited by us.
    let again = opened.with_plain(&mine, now()).unwrap();
    assert_eq!(without_mac(&again), without_mac(&String::from_utf8(theirs).unwrap()));
    // Its own comment after the last nested value sops binds to one place, and looks for in another.
    let read = sops.decrypt_with_warnings(name, again.as_bytes());
    assert_eq!(data(sops, name, &read), data(sops, name, plain));
}

fn without_mac(text: &str) -> String {
    let is_sealed = |line: &&str| {
        !["mac", "lastmodified"]
            .iter()
            .any(|name| line.trim_start().trim_start_matches(['"', 's', 'o', 'p', '_']).starts_with(name))
    };
    text.lines().filter(is_sealed).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_document_of_each_format_goes_both_ways() {
    let Some(sops) = Sops::find() else { return };
    check_both_ways(&sops, "a.yaml", YAML.as_bytes(), &Rule::default(), &[]);
    check_both_ways(&sops, "a.yaml", YAML.replace("    # between\n", "").as_bytes(), &Rule::default(), &[]);
    check_both_ways(
        &sops,
        "a.json",
        b"{\n\t\"a\": {\n\t\t\"b\": [1, -2, \"x\", true, null, \"\"]\n\t},\n\t\"c\": \"d\\n\\u00e9\"\n}",
        &Rule::default(),
        &[],
    );
    check_both_ways(&sops, "a.env", b"# heading\nA=b\nC=\"quoted\" x\nL=a\\nb\nE=\n", &Rule::default(), &[]);
    check_both_ways(&sops, "a.ini", b"[a]\nx = 1\n; words\ny = some text\n\n[b]\nz = t\n", &Rule::default(), &[]);
    check_both_ways(&sops, "a.bin", &[0, 159, 146, 150, 10, 255], &Rule::default(), &[]);
    check_both_ways(&sops, "a", b"text\n", &Rule::default(), &[]);
}

/// Maps, lists and scalars with comments, as people write them.
fn lines(depth: u32, in_list: bool) -> BoxedStrategy<Vec<String>> {
    let key = "[a-z][a-z0-9_]{0,6}";
    let scalar = prop_oneof![
        "[a-zA-Z][a-zA-Z0-9 /=:.,!?-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        "[a-z]{1,8}",
        "'[a-z#: ]{1,8}'",
        any::<i64>().prop_map(|number| number.to_string()),
        (-1000_i32..1000, 1_u32..999).prop_map(|(whole, part)| format!("{whole}.{part}5")),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"\\u00e9\\n\\u4e2d\"".to_owned()),
        Just("é 中 𝄞".to_owned()),
    ];
    let comment = "[a-z][a-z :'\"]{0,8}".prop_map(|text| format!("# {}", text.trim()));
    let entry = (key, scalar.clone(), proptest::option::of(comment.clone()))
        .prop_map(|(key, value, note)| vec![with_note(format!("{key}: {value}"), note)]);
    let block = (key, "[a-z ]{1,6}", "[a-z]{1,9}")
        .prop_map(|(key, first, second)| vec![format!("{key}: |-"), format!("  x{first}y"), format!("    {second}")]);
    let items = (key, proptest::collection::vec(scalar, 1..4)).prop_map(|(key, values)| {
        let items = values.into_iter().map(|value| format!("  - {value}"));
        [vec![format!("{key}:")], items.collect()].concat()
    });
    let note = comment.prop_map(|note| vec![note]);
    if depth == 0 {
        return unique(prop_oneof![4 => entry, 1 => block, 1 => items, 1 => note].boxed(), in_list);
    }
    let inner = (key, lines(depth - 1, false)).prop_map(|(key, lines)| {
        [vec![format!("{key}:")], lines.into_iter().map(|line| format!("    {line}")).collect()].concat()
    });
    unique(prop_oneof![4 => entry, 1 => block, 1 => items, 2 => note, 2 => inner].boxed(), in_list)
}

fn with_note(text: String, note: Option<String>) -> String {
    match note {
        // sops prints a comment beside a text of several lines into its last line.
        Some(note) if !text.contains("\\n") => format!("{text} {note}"),
        _ => text,
    }
}

/// Entries whose keys differ, at least one of which is not a comment.
fn unique(entries: BoxedStrategy<Vec<String>>, _: bool) -> BoxedStrategy<Vec<String>> {
    proptest::collection::vec(entries, 1..6)
        .prop_map(|entries| {
            let mut lines = vec!["first: 1".to_owned()];
            for (at, entry) in entries.into_iter().enumerate() {
                let is_note = entry[0].starts_with('#');
                lines.extend(
                    entry
                        .into_iter()
                        .enumerate()
                        .map(|(line, text)| if line == 0 && !is_note { format!("k{at}{text}") } else { text }),
                );
            }
            lines
        })
        .boxed()
}

#[test]
fn generated_documents_go_both_ways() {
    let Some(sops) = Sops::find() else { return };
    let cases = std::env::var("MACHINIST_SOPS_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(30);
    let mut runner =
        TestRunner::new(Config { cases, max_shrink_iters: 60, failure_persistence: None, ..Config::default() });
    runner
        .run(&lines(2, false), |lines| {
            let text = format!("{}\n", lines.join("\n"));
            check_both_ways(&sops, "g.yaml", text.as_bytes(), &Rule::default(), &[]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn rules_key_groups_and_changes_are_those_of_sops() {
    let Some(sops) = Sops::find() else { return };
    let plain = b"user: app\npassword: x\nnested:\n    password: y\n    port: 1\n";
    for (name, text) in [
        ("encrypted-regex", "^pass"),
        ("encrypted-suffix", "word"),
        ("unencrypted-regex", "port$"),
        ("unencrypted-suffix", "r"),
    ] {
        let rule = Rule::read(|field| (field == name.replace('-', "_")).then(|| text.to_owned())).unwrap();
        check_both_ways(&sops, "r.yaml", plain, &rule, &[&format!("--{name}"), text]);
        let config = format!(
            "creation_rules:\n  - path_regex: m.yaml\n    age: {}\n    mac_only_encrypted: true\n    {}: {text}\n",
            sops.recipient(),
            name.replace('-', "_")
        );
        std::fs::write(sops.path(".sops.yaml"), config).unwrap();
        let theirs = sops.encrypt("m.yaml", plain, &[]);
        std::fs::remove_file(sops.path(".sops.yaml")).unwrap();
        assert!(String::from_utf8_lossy(&theirs).contains("mac_only_encrypted: true"));
        let edited = sops.open("m.yaml", &theirs).set(&path("user"), &value::Plain::text("other"), now()).unwrap();
        assert!(String::from_utf8(sops.decrypt("m.yaml", edited.as_bytes())).unwrap().contains("user: other"));
    }
    // Two of two groups.
    let recipient = sops.recipient();
    std::fs::write(sops.path(".sops.yaml"), format!("creation_rules:\n  - path_regex: groups\n    shamir_threshold: 2\n    key_groups:\n      - age: [{recipient}]\n      - age: [{recipient}]\n")).unwrap();
    std::fs::write(sops.path("groups.yaml"), plain).unwrap();
    let output = sops.run(&["encrypt", "groups.yaml"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let edited = sops.open("groups.yaml", &output.stdout).set(&path("new"), &value::Plain::text("z"), now()).unwrap();
    assert!(String::from_utf8(sops.decrypt("groups.yaml", edited.as_bytes())).unwrap().ends_with("new: z\n"));
    std::fs::remove_file(sops.path(".sops.yaml")).unwrap();
}

#[test]
fn each_side_edits_what_the_other_wrote() {
    let Some(sops) = Sops::find() else { return };
    let documents: [(&str, &[u8], &str); 4] = [
        ("e.yaml", b"a: 1\nb:\n    c: x # note\n", "[\"b\"][\"c\"]"),
        ("e.json", b"{\n\t\"a\": 1,\n\t\"b\": {\n\t\t\"c\": \"x\"\n\t}\n}\n", "[\"b\"][\"c\"]"),
        ("e.env", b"A=1\nC=x\n", "[\"C\"]"),
        ("e.ini", b"[b]\na = 1\nc = x\n", "[\"b\"][\"c\"]"),
    ];
    for (name, plain, place) in documents {
        std::fs::write(sops.path(name), sops.create(name, plain, &Rule::default())).unwrap();
        let output = sops.run(&["set", name, place, "\"by sops\""]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs = std::fs::read(sops.path(name)).unwrap();
        let opened = sops.open(name, &theirs);
        let path: Vec<Step> = place.split('"').skip(1).step_by(2).map(Step::key).collect();
        assert_eq!(opened.get(&path).unwrap().as_str(), Some("by sops"), "{name}");
        // Ours again: in place, a new key, and one less.
        let ours = opened.set(&path, &value::Plain::text("by us"), now()).unwrap();
        let mut added = path.clone();
        *added.last_mut().unwrap() = Step::key("added");
        let ours = sops.open(name, ours.as_bytes()).set(&added, &value::Plain::text("more"), now()).unwrap();
        let mut first = path.clone();
        *first.last_mut().unwrap() = Step::key(if name == "e.env" { "A" } else { "a" });
        let first = if name == "e.ini" { first } else { vec![first.pop().unwrap()] };
        let ours = sops.open(name, ours.as_bytes()).remove(&first, now()).unwrap();
        let read = String::from_utf8(sops.decrypt(name, ours.as_bytes())).unwrap();
        assert!(read.contains("by us") && read.contains("more") && !read.contains('1'), "{name}: {read}");
        // With a new key for other recipients.
        let key = value::new_key().unwrap();
        let renewed = sops.open(name, ours.as_bytes()).rekey(&key, &[sops.slot(&*key)], now()).unwrap();
        assert_eq!(String::from_utf8(sops.decrypt(name, renewed.as_bytes())).unwrap(), read, "{name}");
    }
}

fn path(name: &str) -> Vec<Step> {
    vec![Step::key(name)]
}
