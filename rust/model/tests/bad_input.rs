//! Cases of every check: a machines.nix with a mistake, and the expected diagnostics.
//!
//! The files are evaluated by the real nix-instantiate. `UPDATE_EXPECT=1` rewrites the expected texts.

#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;

use std::fmt::Write;

use cases::{Case, evaluate_all, render};
use machinist_model::{CODES, Diagnostic, Severity, load};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/bad-input");

/// Returns every diagnostic of the case, sorted as on the terminal.
fn diagnostics(case: &Case) -> Vec<Diagnostic> {
    match load(&case.json, &case.source, "machines.nix", &case.directory()) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn every_case_says_what_is_expected() {
    let mut differing = Vec::new();
    for case in evaluate_all(FOLDER) {
        let mut text = String::new();
        for diagnostic in diagnostics(&case) {
            writeln!(text, "{}", render(&diagnostic)).unwrap();
        }
        if !case.matches("expected.txt", text.trim_end()) {
            differing.push(case.name);
        }
    }
    assert!(differing.is_empty(), "run with UPDATE_EXPECT=1 and review the differences: {differing:?}");
}

#[test]
fn a_case_named_after_a_check_is_found_by_that_check() {
    for case in evaluate_all(FOLDER) {
        let found = diagnostics(&case);
        match case.name.split_once('-') {
            Some((code, _)) if code.starts_with('M') => {
                assert!(
                    found.iter().any(|diagnostic| diagnostic.code.to_string() == code),
                    "{}: {found:#?}",
                    case.name
                );
                let others = found.iter().filter(|diagnostic| diagnostic.code.to_string() != code);
                let others: Vec<String> = others.map(ToString::to_string).collect();
                assert!(others.is_empty(), "{} should show one check, but says: {others:?}", case.name);
            }
            _ => assert!(!found.is_empty(), "{}: no diagnostic", case.name),
        }
    }
}

#[test]
fn every_check_has_a_case() {
    let cases = evaluate_all(FOLDER);
    for info in CODES {
        let prefix = format!("{}-", info.code);
        assert!(
            cases.iter().any(|case| case.name.starts_with(&prefix)),
            "tests/bad-input has no case for {}",
            info.code
        );
    }
}

#[test]
fn every_diagnostic_has_a_place_and_says_why_and_what_to_write() {
    for case in evaluate_all(FOLDER) {
        for diagnostic in diagnostics(&case) {
            let data = serde_json::to_value(&diagnostic).unwrap();
            let line = data["line"].as_u64().unwrap() as usize;
            let column = data["column"].as_u64().unwrap() as usize;
            let text = case.source.lines().nth(line - 1).unwrap_or_default();
            assert!(column <= text.chars().count() + 1, "{}: {data}", case.name);
            assert_eq!(data["file"], "machines.nix");
            for (name, text) in [("message", &diagnostic.message), ("why", &diagnostic.why)] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{} {name}: {text:?}", case.name);
            }
            assert!(diagnostic.help.is_some(), "{}: no help for {diagnostic}", case.name);
        }
    }
}

#[test]
fn a_file_with_an_error_gives_no_cluster_and_one_with_warnings_does() {
    for case in evaluate_all(FOLDER) {
        let has_error = diagnostics(&case).iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let is_loaded = load(&case.json, &case.source, "machines.nix", &case.directory()).is_ok();
        assert_eq!(is_loaded, !has_error, "{}", case.name);
    }
}
