//! Messages in the guides' tables of remedies: the program still prints each of them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{fs, path::PathBuf, process::Command};

/// Tables whose first cells quote messages: the page, and the table's head.
const TABLES: [(&str, &str); 2] =
    [("docs/guides/deploy.md", "| message |"), ("docs/guides/kubernetes.md", "| message |")];

/// Number of consecutive words of a message that the sources must contain, or its longest run if that is shorter.
const WORDS: usize = 4;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the text of all sources that print to users: Rust and the scripts for hosts, with white space joined.
fn sources() -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(root())
        .args(["ls-files", "-z", "--", "rust/*.rs", "rust/*.sh", ":!rust/testkit"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let texts = names.split('\0').filter(|name| !name.is_empty());
    let all: String = texts.map(|name| fs::read_to_string(root().join(name)).unwrap() + "\n").collect();
    // A text over several lines of source has a backslash at their ends.
    all.replace('\\', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the messages in back quotes of the first cells of a table.
fn messages(page: &str, head: &str) -> Vec<String> {
    let rows = page.lines().skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Returns true for words that stand for others: numbers, paths, names of one letter, dots.
fn is_example(word: &str) -> bool {
    word.len() == 1 || word == "..." || word.contains(|letter: char| letter.is_ascii_digit() || letter == '/')
}

/// Returns true if enough consecutive words of the message are in the sources.
fn is_printed(message: &str, sources: &str) -> bool {
    // The part after a colon is often the text of another error.
    let text = message.replace(": ", " ... ");
    let words: Vec<&str> = text.split(' ').collect();
    let runs: Vec<&[&str]> = words.split(|word| is_example(word)).collect();
    let longest = runs.iter().map(|run| run.len()).max().unwrap_or(0).min(WORDS);
    runs.iter().flat_map(|run| run.windows(longest.max(1))).any(|window| sources.contains(&window.join(" ")))
}

#[test]
fn every_message_with_a_remedy_is_one_of_the_programs() {
    let sources = sources();
    let mut gone = Vec::new();
    let mut count = 0;
    for (page, head) in TABLES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for message in messages(&text, head) {
            count += 1;
            if !is_printed(&message, &sources) {
                gone.push(format!("{page}: {message}"));
            }
        }
    }
    assert!(count > 20, "only {count} messages were found");
    assert!(gone.is_empty(), "the program does not print these:\n{}", gone.join("\n"));
}

#[test]
fn a_message_that_is_gone_is_found() {
    let sources = "format!(\"{node} failed: reverted to the system that ran before: {reason}\")";
    assert!(is_printed("reverted to the system that ran before: units failed: x.service", sources));
    assert!(!is_printed("went back to the system before: units failed", sources));
    assert_eq!(messages("a\n| message | do |\n|---|---|\n| `x: y` and `z` | `w` |\nb", "| message |"), ["x: y", "z"]);
}
