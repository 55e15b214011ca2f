#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use proptest::prelude::{any, proptest};
use serde_json::{Value, json};

use super::{ManifestError, parse, read};

fn values(text: &str) -> Vec<Value> {
    parse(Path::new("x.yaml"), text).unwrap().into_iter().map(|document| document.value).collect()
}

#[track_caller]
fn refused(text: &str, wanted: &str) {
    let error = parse(Path::new("manifests/x.yaml"), text).unwrap_err().to_string();
    assert!(error.starts_with(wanted), "{error}");
}

#[test]
fn a_file_has_documents_and_each_knows_its_line() {
    let text =
        "# first\n---\nkind: A\n---\n# nothing\n---\n\nkind: B\nspec:\n  ports:\n    - port: 80\n      name: http\n";
    let documents = parse(Path::new("m/x.yaml"), text).unwrap();
    let kinds: Vec<&Value> = documents.iter().map(|document| &document.value["kind"]).collect();
    assert_eq!(kinds, ["A", "B"]);
    assert_eq!(documents[0].place.to_string(), "m/x.yaml:3");
    assert_eq!(documents[1].place.to_string(), "m/x.yaml:8");
    for (pointer, line) in [
        ("", 8),
        ("/spec", 9),
        ("/spec/ports/0/port", 11),
        ("/spec/ports/0/name", 12),
        ("/spec/ports/0/targetPort", 11),
        ("/spec/selector/app", 9),
        ("/status", 8),
    ] {
        assert_eq!(documents[1].lines.of(pointer), line, "{pointer}");
    }
}

#[test]
fn json_is_read_too() {
    let text = "{\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t1,\n\t\t\"a\\u00e4\"\n\t]\n}\n";
    let documents = parse(Path::new("x.json"), text).unwrap();
    assert_eq!(documents[0].value, json!({ "kind": "List", "items": [1, "aä"] }));
    assert_eq!(documents[0].lines.of("/items/1"), 5);
}

#[test]
fn texts_in_quotes_and_blocks_stay_texts() {
    let text = "a: \"1\"\nb: 'yes'\nc: |\n  x: 1\n  y\nd: >-\n  one\n  two\ne: !!str 5\n";
    assert_eq!(values(text), [json!({ "a": "1", "b": "yes", "c": "x: 1\ny\n", "d": "one two", "e": "5" })]);
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text = "base: &base { a: 1, b: 2 }\nmore: { <<: *base, b: 3 }\nlist: [*base]\nmany:\n  <<: [{ c: 4 }, *base]\n";
    let base = json!({ "a": 1, "b": 2 });
    let wanted =
        json!({ "base": base, "more": { "a": 1, "b": 3 }, "list": [base], "many": { "a": 1, "b": 2, "c": 4 } });
    assert_eq!(values(text), [wanted]);
}

#[test]
fn keys_become_texts() {
    assert_eq!(values("1: a\ntrue: b\n"), [json!({ "1": "a", "true": "b" })]);
}

#[test]
fn invalid_yaml_is_reported_with_its_line() {
    refused("a: b\n  c: d\n", "manifests/x.yaml:2: invalid YAML: ");
    refused("a: 1\nb: [1, 2\n", "manifests/x.yaml:");
    refused("a: \"x\n", "manifests/x.yaml:");
    refused("kind: A\n---\nb: }\n", "manifests/x.yaml:3: invalid YAML: ");
    refused("{{ template }}\n", "manifests/x.yaml:1: a key must be a string");
    refused("a: *b\n", "manifests/x.yaml:1: invalid YAML: ");
    refused("a:\n\tb: 1\n\tc: 2\n", "manifests/x.yaml:");
}

#[test]
fn values_without_an_equivalent_in_json_are_refused() {
    refused("a: 1\nb: 2\na: 3\n", "manifests/x.yaml:3: duplicate key \"a\", first on line 1");
    refused("a: .inf\n", "manifests/x.yaml:1: .inf is not a JSON number");
    refused("a: !vault x\n", "manifests/x.yaml:1: the tag !vault has no equivalent");
    refused("a:\n  !ours {}\n", "manifests/x.yaml:2: the tag !ours has no equivalent");
    refused("a: !!int x\n", "manifests/x.yaml:1: \"x\" does not match its tag");
    refused("? [a]\n: 1\n", "manifests/x.yaml:1: a key must be a string");
    refused("~: 1\n", "manifests/x.yaml:1: a key must be a string");
    refused("a: &a [*a]\n", "manifests/x.yaml:1: an alias inside its own anchor");
    refused("<<: 1\n", "manifests/x.yaml:1: `<<` takes mappings only");
}

#[test]
fn a_few_lines_cannot_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let alias = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", ")));
    }
    refused(&text, "manifests/x.yaml:5: the aliases up to here expand to more than");
    refused(&"[".repeat(100_000), "manifests/x.yaml:1: ");
    refused(&"- ".repeat(2_000), "manifests/x.yaml:1: nested more than");
}

#[test]
fn a_directory_is_read_in_the_order_of_its_paths() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join("manifests").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    assert!(read(root.path(), "manifests").unwrap().is_empty(), "a missing directory");
    write("b.yml", "kind: B\n");
    write("a/z.yaml", "kind: A\n");
    write("c.json", "{\"kind\": \"C\"}");
    for left_alone in ["README.md", ".hidden.yaml", "c.yaml.orig", ".git/x.yaml"] {
        write(left_alone, "[");
    }
    let documents = read(root.path(), "manifests").unwrap();
    let places: Vec<String> = documents.iter().map(|document| document.place.to_string()).collect();
    assert_eq!(places, ["manifests/a/z.yaml:1", "manifests/b.yml:1", "manifests/c.json:1"]);

    write("d.yaml", "a: b: c\n");
    fs::write(root.path().join("manifests/e.yaml"), b"a: \xff\n").unwrap();
    let errors = read(root.path(), "manifests").unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(texts[0].starts_with("manifests/d.yaml:1: invalid YAML: "), "{texts:?}");
    assert_eq!(texts[1..], ["cannot read manifests/e.yaml"]);
    assert!(matches!(errors[1], ManifestError::Read { .. }));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = parse(Path::new("x"), &text);
    }

    #[test]
    fn no_text_of_yaml_letters_makes_it_panic(text in "[-:a1 \\n\\[\\]{}&*!|>'\",#?~<]{0,60}") {
        let _ = parse(Path::new("x"), &text);
    }
}
