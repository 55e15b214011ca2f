//! Round trip: `nix` parses the writer's output as the same value, for any strings.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{io::Write, process::Command};

use machinist_codegen::nix::{Value, file};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value as Json, json};

/// Adversarial strings: interpolation, quotes, escapes, newlines, any Unicode but NUL.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[^\u{0}]{0,6}",
        Just("${".to_owned()),
        Just("''".to_owned()),
        Just("\\".to_owned()),
        Just("\"".to_owned()),
        Just("$".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("or".to_owned()),
    ];
    prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1_i64 << 53)..(1 << 53)).prop_map(Value::Int),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::btree_map(text(), inner, 0..5).prop_map(Value::Set),
        ]
    })
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::String(value) => json!(value),
        Value::Path(_) => panic!("no paths here: they become store paths"),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Set(attributes) => {
            Json::Object(attributes.iter().map(|(name, value)| (name.clone(), as_json(value))).collect())
        }
    }
}

/// Many values are evaluated by one `nix` process, as a list: one process for each would take minutes.
#[test]
fn nix_reads_back_what_was_written() {
    let mut runner = TestRunner::new(Config { cases: 20, ..Config::default() });
    runner
        .run(&prop::collection::vec(value(), 60), |values| {
            let whole = Value::List(values);
            let mut source = tempfile::NamedTempFile::new().unwrap();
            source.write_all(file("a header", &whole).unwrap().as_bytes()).unwrap();
            let output = Command::new("nix-instantiate")
                .args(["--eval", "--strict", "--json"])
                .arg(source.path())
                .output()
                .unwrap();
            prop_assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let read: Json = serde_json::from_slice(&output.stdout).unwrap();
            prop_assert_eq!(read, as_json(&whole));
            Ok(())
        })
        .unwrap();
}
