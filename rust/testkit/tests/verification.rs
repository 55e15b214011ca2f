//! docs/verification.md names a test for each trap, bug and weakness: every one of them is there.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{fs, path::PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The rows of the table below the heading, each with its number and its last cell.
fn rows(text: &str, heading: &str) -> Vec<(usize, String)> {
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (number, _) = cells.first()?.split_once(':')?;
        Some((number.parse().ok()?, (*cells.last()?).to_owned()))
    };
    section.lines().filter(|line| line.starts_with("| ")).filter_map(row).collect()
}

/// The tests that a cell names: a file in back quotes, and after it what the names begin with, in double quotes.
fn tests(cell: &str) -> Vec<(String, String)> {
    let (mut file, mut found) = (String::new(), Vec::new());
    for part in cell.split("; ") {
        let part = match part.strip_prefix('`').and_then(|part| part.split_once("` ")) {
            Some((path, rest)) => {
                path.clone_into(&mut file);
                rest
            }
            None => part,
        };
        let name = part.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let name = name.unwrap_or_else(|| panic!("no test in quotes: {part}"));
        found.push((file.clone(), name.replace("\\\"", "\"")));
    }
    found
}

#[test]
fn every_trap_and_every_bug_has_a_test_that_exists() {
    let text = fs::read_to_string(root().join("docs/verification.md")).unwrap();
    let tables: [(&str, Vec<usize>); 4] = [
        ("Traps of NixOS' modules", (1..=22).collect()),
        ("Bugs of the original project", (1..=14).collect()),
        ("Weaknesses of nix-infra", vec![1, 2, 6, 7, 8, 11, 13, 14, 15, 18, 19, 20, 21, 28]),
        ("A mesh on one computer", vec![1, 2, 3, 4, 5, 6, 8, 9]),
    ];
    for (heading, expected) in tables {
        let rows = rows(&text, heading);
        let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, expected, "{heading}");
        for (number, cell) in rows {
            for (file, name) in tests(&cell) {
                let content = fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(content.contains(&name), "{heading}, {number}: {file} has no test \"{name}\"");
            }
        }
    }
}
