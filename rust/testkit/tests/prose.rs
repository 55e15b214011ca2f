//! Wording of documentation and comments: turns of phrase that have a shorter word in the field are counted, per 10,000 words.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

/// Words that open a sentence without asking a question: a noun says the same.
const OPENERS: [&str; 7] = ["what", "whether", "who", "whose", "which", "how", "where"];

/// Phrases with what to write instead. A phrase is a sequence of words in lower case.
const PHRASES: [(&str, &[&str]); 8] = [
    ("query, check, request", &["ask", "asks", "asked", "asking"]),
    ("report, print, configure", &["tell", "tells", "told", "telling"]),
    (
        "not a, invalid, missing",
        &["is no", "are no", "was no", "were no", "is none", "are none", "is nobody", "is nothing", "are nothing"],
    ),
    ("no one, any client, each", &["nobody", "somebody", "whoever", "whatever", "whichever"]),
    ("deploy, apply, copy", &["bring", "brings", "brought", "bringing"]),
    (
        "again, must, continues, is missing, fix",
        &["anew", "shall", "goes on", "go on", "went on", "lacks", "lacking", "mend", "mended"],
    ),
    ("its own, separate", &["of its own", "of their own", "of one's own"]),
    ("grant, revoke, finish", &["let in", "lets in", "shut out", "settle", "settles", "settled", "wholly"]),
];

/// The most that a kind of file may have, per 10,000 words: of all rows together, and of one.
struct Limit {
    kind: &'static str,
    all: f64,
    one: f64,
}

const LIMITS: [Limit; 1] = [Limit { kind: "md", all: 20.0, one: 8.0 }];

/// A place in a file with what stands there.
struct Hit {
    place: String,
    row: &'static str,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn tracked(kind: &str) -> Vec<String> {
    let output = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.split('\0').filter(|name| name.ends_with(&format!(".{kind}"))).map(str::to_owned).collect()
}

/// The lines of Markdown that are prose: no code block, neither fenced nor indented.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence && !line.starts_with("    ")).then_some((number, line))
    })
}

/// The words of a line in lower case, apostrophes within them.
fn words(line: &str) -> Vec<String> {
    let parts = line.split(|letter: char| !letter.is_alphabetic() && letter != '\'' && letter != '_');
    parts.map(|word| word.trim_matches('\'').to_lowercase()).filter(|word| !word.is_empty()).collect()
}

/// The sentences of a line, each with its end.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    line.split_inclusive(['.', ':', ';', '?', '!'])
}

/// The rows that a line is counted in, once for each time.
fn rows(line: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let words = words(line);
    for (instead, phrases) in PHRASES {
        for phrase in phrases {
            let phrase: Vec<&str> = phrase.split(' ').collect();
            let count = words.windows(phrase.len()).filter(|window| *window == phrase.as_slice()).count();
            found.extend(std::iter::repeat_n(instead, count));
        }
    }
    for sentence in sentences(line.trim_start_matches([' ', '-', '*', '|', '#'])) {
        let is_question = sentence.ends_with('?') || sentence.len() < 20;
        let opens = self::words(sentence).first().is_some_and(|word| OPENERS.contains(&word.as_str()));
        let is_capital = sentence.trim_start().starts_with(char::is_uppercase);
        if opens && is_capital && !is_question {
            found.push("a noun in place of What, Whether, Who, How, Where");
        }
    }
    found
}

#[test]
fn documentation_is_written_in_the_words_of_the_field() {
    for limit in LIMITS {
        let mut total = 0;
        let mut hits = Vec::new();
        for file in tracked(limit.kind) {
            let text = fs::read_to_string(root().join(&file)).unwrap();
            // A generated page has the words of its source, where they are to be changed.
            if text.contains("<!-- Generated ") {
                continue;
            }
            for (number, line) in prose(&text) {
                total += words(line).len();
                hits.extend(
                    rows(line).into_iter().map(|row| Hit { place: format!("{file}:{number}: {}", line.trim()), row }),
                );
            }
        }
        assert!(total > 10_000, "only {total} words were found in *.{}", limit.kind);
        let mut by_row: BTreeMap<&str, Vec<&Hit>> = BTreeMap::new();
        for hit in &hits {
            by_row.entry(hit.row).or_default().push(hit);
        }
        let rate = |count: usize| {
            10_000.0 * f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(total).unwrap())
        };
        for (row, hits) in by_row {
            let places: Vec<&str> = hits.iter().take(20).map(|hit| hit.place.as_str()).collect();
            let found = rate(hits.len());
            assert!(found <= limit.one, "{found:.1} of 10,000 words; write {row}:\n{}", places.join("\n"));
        }
        let found = rate(hits.len());
        assert!(
            found <= limit.all,
            "{found:.1} of 10,000 words in *.{} are such turns, {} is the limit",
            limit.kind,
            limit.all
        );
    }
}

#[test]
fn a_turn_of_phrase_is_found_and_a_question_is_none() {
    for (line, count) in [
        ("Nobody asks it.", 2),
        ("- What a deploy does, and when it goes on.", 2),
        ("Where is it?", 0),
        ("It has a user of its own; who knows.", 1),
        ("| it is no number | told |", 2),
        ("task, bringer, `ask_all`", 0),
        ("The queries are sent to each member.", 0),
    ] {
        assert_eq!(rows(line).len(), count, "{line}: {:?}", rows(line));
    }
}
