//! Properties that hold for any input: no panic, and no line changes but those of a change.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use machinist_sops::{Document, Format, Opened, Rule, Slot, SopsError, Step, create, read, value};
use proptest::prelude::*;
use time::OffsetDateTime;
use zeroize::Zeroizing;

const FORMATS: [Format; 5] = [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini, Format::Binary];

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
}

/// Wraps the key as its bytes in letters: these tests are not about age.
fn slot(key: &[u8]) -> Slot {
    let enc = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Slot { recipient: "age1test".to_owned(), enc }
}

fn unwrap(slot: &Slot) -> Option<Zeroizing<Vec<u8>>> {
    let byte = |at| u8::from_str_radix(slot.enc.get(at..at + 2)?, 16).ok();
    (0..slot.enc.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

fn open(format: Format, text: &str) -> Result<Opened, SopsError> {
    let document = Document::parse(format, text.as_bytes())?;
    let key = document.data_key(unwrap)?;
    document.open(key)
}

fn stored(format: Format, plain: &str) -> String {
    let key = value::new_key().unwrap();
    create(format, plain.as_bytes(), &Rule::default(), &key, &[slot(&*key)], now()).unwrap()
}

const YAML: &str =
    "# heading\na: 1 # note\nb:\n    - x\n    - y: 'z'\nc: |\n    two\n    lines\nd: {e: [1, \"f\"]}\nlast: null\n";

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        for format in FORMATS {
            let _ = read::layout(format, &text);
            let _ = Document::parse(format, text.as_bytes());
        }
    }

    #[test]
    fn no_yaml_panics(text in "([ \\n\\-?:#|>{}\\[\\],\"'&*!%a-c1.\\\\éENC]|: |- |\n  |sops:|\\{a: ){0,60}") {
        let _ = Document::parse(Format::Yaml, text.as_bytes());
        let key = value::new_key().unwrap();
        // What can be encrypted can be read back, with the same values.
        if let Ok(file) = create(Format::Yaml, text.as_bytes(), &Rule::default(), &key, &[slot(&*key)], now()) {
            let opened = open(Format::Yaml, &file).unwrap_or_else(|error| panic!("{error}\n{text:?}\n{file}"));
            let plain = opened.plain().unwrap();
            let values = |text: &str| read::layout(Format::Yaml, text).unwrap().leaves.into_iter().map(|leaf| leaf.content).filter(|content| !matches!(content, machinist_sops::layout::Content::Comment(..))).collect::<Vec<_>>();
            prop_assert_eq!(values(std::str::from_utf8(&plain).unwrap()), values(&text));
        }
    }

    #[test]
    fn no_damaged_file_panics_or_is_accepted(at in 0_usize..3000, byte in 0_u8..128, cut in any::<bool>()) {
        let file = stored(Format::Yaml, YAML);
        let at = at % file.len();
        let mut bytes = file.clone().into_bytes();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let text = String::from_utf8(bytes).unwrap();
        if let Ok(opened) = open(Format::Yaml, &text) {
            // Formatting, the recipients' names and comments are not authenticated: the values are.
            let before = open(Format::Yaml, &file).unwrap();
            let values = |opened: &Opened| opened.paths().map(|path| opened.get(path).ok().cloned()).collect::<Vec<_>>();
            prop_assert!(values(&opened) == values(&before) || cut, "{}", text);
        }
    }

    #[test]
    fn a_change_changes_its_own_lines(value in "[ -~é]{0,30}", key in prop::sample::select(vec!["a", "last", "fresh"])) {
        let before = stored(Format::Yaml, YAML);
        let path = [Step::key(key)];
        let after = open(Format::Yaml, &before).unwrap().set(&path, &value::Plain::text(value.as_str()), now()).unwrap();
        let opened = open(Format::Yaml, &after).unwrap();
        prop_assert_eq!(opened.get(&path).unwrap().as_str(), Some(value.as_str()));
        let is_other = |line: &&str| !["mac:", "lastmodified:", &format!("{key}:")].iter().any(|name| line.trim().starts_with(name));
        let others = |text: &str| text.lines().filter(is_other).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(others(&after), others(&before));
    }
}

#[track_caller]
fn refused(format: Format, plain: &str, expect: &str) {
    let key = value::new_key().unwrap();
    let error = create(format, plain.as_bytes(), &Rule::default(), &key, &[slot(&*key)], now()).unwrap_err();
    assert!(error.to_string().contains(expect), "{error}");
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_line() {
    for (plain, expect) in [
        ("a: &x 1\nb: *x\n", "line 1: an anchor"),
        ("a: 1\nb: !t 1\n", "line 2: an anchor"),
        ("a: 1\n---\nb: 2\n", "several documents"),
        ("a: 1\na: 2\n", "line 2: a key is there twice"),
        ("<<: {a: 1}\n", "merge key"),
        ("1: a\n", "a key must be text"),
        ("? a\n: b\n", "a key after `?`"),
        ("a: 0x10\n", "not in decimal"),
        ("a: 0777\n", "not in decimal"),
        ("a: 1_000\n", "not in decimal"),
        ("a: 2024-01-01\n", "or a date"),
        ("a: .inf\n", "not in decimal"),
        ("a: 9223372036854775808\n", "beyond 64 bits"),
        ("- a\n", "the top must be a map"),
        ("a: | # note\n  x\n", "a block"),
        ("a: 1\r\n", "line feed"),
        ("%YAML 1.2\n---\na: 1\n", "directives"),
        ("sops: 1\n", "reserved"),
        ("\n  sops:: ", "no place for the `sops` metadata"),
        ("  a: 1\n", "no place for the `sops` metadata"),
    ] {
        refused(Format::Yaml, plain, expect);
    }
    refused(Format::Yaml, &format!("a: {}1{}\n", "[".repeat(200), "]".repeat(200)), "nested too deeply");
    refused(Format::Ini, "[a]\nx = \"y\"\n", "quotes");
    refused(Format::Ini, "[a]\nx = 1\n[a]\n", "line 3: a section is there twice");
    refused(Format::Dotenv, "no sign\n", "line 1: a line without an equals sign");
    refused(Format::Dotenv, "sops_mac=1\n", "reserved");
}

#[test]
fn changed_values_and_checksums_are_errors() {
    let file = stored(Format::Yaml, "a: one\nb: two\n");
    let line = |text: &str, name: &str| text.lines().find(|line| line.trim().starts_with(name)).unwrap().to_owned();
    let error = |text: &str| open(Format::Yaml, text).err().map(|error| error.to_string()).unwrap_or_default();
    let a = line(&file, "a:");
    let b = line(&file, "b:");
    // Two values change places: each is bound to its key.
    let swapped = file.replace(&a, &b.replace("b:", "a:"));
    assert!(error(&swapped).contains("`a` cannot be decrypted: the value was changed, or moved here from another key"));
    assert!(error(&file.replace(&format!("{a}\n"), "")).contains("fails its checksum"));
    assert!(error(&file.replace(&line(&file, "mac:"), "    other: x")).contains("has no checksum"));
    assert!(error(&file.replace("2026-09-21", "2026-09-22")).contains("checksum (MAC) that cannot be decrypted"));
    assert!(error("a: 1\n").contains("is not encrypted"));
    assert!(error(&file.replace(&a, "a: hand")).contains("`a` is not encrypted, but"));
}
