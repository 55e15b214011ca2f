//! Check that every test exists that docs/internals/verification.md names for a trap, bug, weakness or fault.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{fs, path::PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A row of a table: the number in front of its first cell, and its last cell.
#[derive(Debug, PartialEq)]
struct Row {
    number: usize,
    tests: String,
}

/// Parses `| 7b: what | how | tests |`; a letter after the number belongs to it.
fn row(line: &str) -> Result<Row, String> {
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
    let (number, _) = cells[0].split_once(':').ok_or_else(|| format!("no number and colon: {line}"))?;
    let number = number.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let number = number.parse().map_err(|_| format!("no number: {line}"))?;
    let tests = cells.last().filter(|_| cells.len() > 1).ok_or_else(|| format!("only one cell: {line}"))?;
    Ok(Row { number, tests: (*tests).to_owned() })
}

/// Returns the rows of the table below the heading; `None` without the heading. Every line of a table except its head
/// is a row.
fn rows(text: &str, heading: &str) -> Option<Vec<Row>> {
    let section = text.split("\n## ").find(|section| section.starts_with(heading))?;
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    Some(lines.map(|line| row(line).unwrap_or_else(|error| panic!("{heading}: {error}"))).collect())
}

/// Returns the tests that a cell names: a file in back quotes, and after it prefixes of names, in double quotes.
fn tests(cell: &str) -> Result<Vec<(String, String)>, String> {
    let mut file = String::new();
    let mut found = Vec::new();
    for part in cell.split("; ") {
        let part = match part.strip_prefix('`').and_then(|part| part.split_once("` ")) {
            Some((path, rest)) => {
                path.clone_into(&mut file);
                rest
            }
            None => part,
        };
        let name = part.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
        let name = name.ok_or_else(|| format!("no test in quotes: {part}"))?;
        found.push((file.clone(), name.replace("\\\"", "\"")));
    }
    Ok(found)
}

/// Returns true if a Rust file has a test function of exactly this name.
fn has_function(content: &str, name: &str) -> bool {
    let mut is_test = false;
    for line in content.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && !line.starts_with("#[") && !line.starts_with("//") {
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            if function.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('(')) {
                return true;
            }
            is_test = line.starts_with("proptest!");
        }
    }
    false
}

/// Returns true if a shell script has a step whose name starts with this text: the name is the first argument of a
/// command, in quotes.
fn has_step(content: &str, name: &str) -> bool {
    // Lines that only print, set or comment are not steps.
    let no_step = ["echo", "printf", "#", "local", "export", "sed", "grep", "return"];
    content.lines().map(str::trim).any(|line| {
        // A step may follow `for ...; do`, `{`, `&&` or `||`.
        line.match_indices(&format!(" \"{name}")).any(|(position, _)| {
            let command = line[..position].rsplit([' ', ';', '(', '{', '&', '|']).next().unwrap_or_default();
            let is_word =
                !command.is_empty() && command.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
            is_word && !no_step.contains(&command) && !line.starts_with('#')
        })
    })
}

/// Returns why the test that a row names does not exist; `None` if it does.
fn missing(file: &str, name: &str) -> Option<String> {
    let content = match fs::read_to_string(root().join(file)) {
        Ok(content) => content,
        Err(error) => return Some(format!("{file}: {error}")),
    };
    let exists = if file.ends_with(".rs") { has_function(&content, name) } else { has_step(&content, name) };
    (!exists).then(|| format!("{file} has no test \"{name}\""))
}

/// The sections that list everything of their kind, with their numbers in order.
const COMPLETE: [(&str, &[usize]); 4] = [
    ("Traps of NixOS' modules", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]),
    ("Bugs of the original project", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
    ("Weaknesses of nix-infra", &[1, 2, 6, 7, 8, 11, 13, 14, 15, 18, 19, 20, 21, 28]),
    ("A mesh on one computer", &[1, 2, 3, 4, 5, 6, 8, 9]),
];

/// The faults that were found by attack, with their last number: several rows may have the same number.
const FAULTS: (&str, usize) = ("Faults found by attack", 27);

/// The faults that each command for a directory, a build or one node must not have.
const COMMANDS: (&str, usize) = ("Commands for a directory, a build or one node", 5);

/// The faults that an upgrade of a cluster must not have.
const UPGRADES: (&str, usize) = ("Upgrades", 10);

/// The faults that a control mesh must not have.
const CONTROL: (&str, usize) = ("Control mesh", 13);

/// The faults that a provider's API, and commands that cost money, must not lead to.
const CLOUDS: (&str, usize) = ("Servers of clouds", 37);

/// The faults that changes of a DNS zone must not have.
const ZONES: (&str, usize) = ("DNS zones", 14);

/// The faults that addresses of Services must not have.
const SERVICES: (&str, usize) = ("Addresses of Services", 9);

/// The faults that files of secrets must not have.
const SECRETS: (&str, usize) = ("Secrets", 8);

#[test]
fn every_trap_bug_and_fault_has_a_test_that_exists() {
    let text = fs::read_to_string(root().join("docs/internals/verification.md")).unwrap();
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for (heading, expected) in COMPLETE {
        let rows = rows(&text, heading).unwrap_or_else(|| panic!("no section {heading}"));
        let numbers: Vec<usize> = rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, expected, "{heading}");
        all.extend(rows.into_iter().map(|row| (heading, row)));
    }
    for (heading, last) in [FAULTS, COMMANDS, UPGRADES, CONTROL, CLOUDS, ZONES, SERVICES, SECRETS] {
        for row in rows(&text, heading).unwrap_or_else(|| panic!("no section {heading}")) {
            assert!(row.number <= last, "{heading}: there is no {}", row.number);
            all.push((heading, row));
        }
    }
    for (heading, Row { number, tests: cell }) in all {
        match tests(&cell) {
            Ok(tests) => {
                let missing = tests.iter().filter_map(|(file, name)| missing(file, name));
                wrong.extend(missing.map(|reason| format!("{heading}, {number}: {reason}")));
            }
            Err(error) => wrong.push(format!("{heading}, {number}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_row_cannot_name_a_line_that_is_no_test() {
    let rust = "const A: &str = include_str!(\"a.md\");\n#[test]\n#[ignore]\nfn it_holds() {}\nfn helper() {}\n";
    assert!(has_function(rust, "it_holds"));
    for name in ["include_str!(\"a.md\")", "helper", "it_hold", "it_holds_not"] {
        assert!(!has_function(rust, name), "{name}");
    }
    let shell = "# equal \"a comment\" 1 1\necho \"printed\"\nequal \"all are well\" 1 1\nfor n in a; do check_exit \"$n is up\" 0 '' up; done\n";
    for name in ["all are well", "all are", "$n is up"] {
        assert!(has_step(shell, name), "{name}");
    }
    for name in ["a comment", "printed", "are well", "up", "equal"] {
        assert!(!has_step(shell, name), "{name}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_no_row_left_out() {
    assert_eq!(row("| 7b: a | b | `f` \"c\" |"), Ok(Row { number: 7, tests: "`f` \"c\"".to_owned() }));
    for line in ["| a | b | c |", "| x: a | b |", "| 7: a |"] {
        assert!(row(line).is_err(), "{line}");
    }
    assert!(tests("`f` c").is_err());
}
