//! The generated pages of docs/ are current. `UPDATE_EXPECT=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;

use std::path::Path;

use machinist_model::{CODES, docs};

#[track_caller]
fn check(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    assert!(cases::matches(&path, text), "docs/reference/{page} is not current: run with UPDATE_EXPECT=1");
}

#[test]
fn the_page_of_machines_nix_is_current() {
    check("machines-nix.md", &docs::machines_nix());
}

#[test]
fn the_page_of_checks_is_current() {
    check("checks.md", &docs::checks());
}

#[test]
fn every_attribute_has_a_meaning_and_a_default_or_is_required() {
    let page = docs::machines_nix();
    for entry in page.split("\n### ").skip(1) {
        let (name, rest) = entry.split_once('\n').unwrap();
        let meaning = rest.trim_start().lines().next().unwrap_or_default();
        assert!(!meaning.is_empty() && !meaning.starts_with("- "), "{name} has no meaning");
        let is_set = rest.contains("- Type: an attribute set");
        assert!(is_set || rest.contains("- Default: ") || rest.contains("- Required"), "{name} has no default");
        assert!(is_set || rest.contains("- Example: "), "{name} has no example");
    }
}

#[test]
fn every_check_is_on_the_page() {
    let page = docs::checks();
    for info in CODES {
        assert!(page.contains(&format!("## {} {}", info.code, info.title)), "{}", info.code);
    }
}
