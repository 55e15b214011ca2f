//! Parser of the journals of runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{outcome::Outcome, waves::Reboots};

/// Content of a run's journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The identifier of the run.
    pub run: String,
    /// The name in the locks of its nodes: its own, or that of the previous run of the same command.
    pub lock: String,
    /// The process that last wrote the journal. Missing in old journals.
    pub process: Option<u32>,
    /// The start time (RFC 3339).
    pub began: String,
    /// The user who started it, `user@host`. Empty in old journals.
    pub who: String,
    /// The system to deploy to each node.
    pub systems: BTreeMap<NodeName, String>,
    /// The selection of nodes to reboot.
    pub reboots: Reboots,
    /// The nodes whose reboot has begun, with the ID of the boot before it.
    pub rebooting: BTreeMap<NodeName, String>,
    /// The nodes whose reboot has ended.
    pub rebooted: BTreeSet<NodeName>,
    /// The nodes on which a change has begun.
    pub started: Vec<NodeName>,
    /// The recorded outcomes of the nodes.
    pub nodes: BTreeMap<NodeName, Outcome>,
    /// True if it ended, successfully or not.
    pub ended: bool,
}

/// All journals in a directory.
#[derive(Debug, Default)]
pub struct Records {
    /// The readable ones, the oldest first.
    pub runs: Vec<Record>,
    /// Paths of the unreadable ones, after they were renamed.
    pub unreadable: Vec<PathBuf>,
}

/// Reasons why a journal cannot be parsed.
#[derive(Debug, Error)]
pub enum RecordError {
    /// A line is not a journal entry.
    #[error("line {line} is no entry of a journal")]
    Line {
        /// Line number, from 1.
        line: usize,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// The first entry is missing, or has an unsupported version.
    #[error("it does not begin as a journal that this machinist knows")]
    Beginning,
}

#[derive(Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
enum Line {
    Begin {
        at: String,
        version: u32,
        run: String,
        #[serde(default)]
        lock: Option<String>,
        #[serde(default)]
        process: Option<u32>,
        #[serde(default)]
        who: String,
        systems: BTreeMap<NodeName, String>,
        #[serde(default)]
        reboots: Reboots,
    },
    Rebooting {
        node: NodeName,
        boot: String,
    },
    Started {
        node: NodeName,
    },
    Node {
        node: NodeName,
        result: Option<Outcome>,
    },
    Ended {
        nodes: BTreeMap<NodeName, Outcome>,
    },
    Resumed {
        #[serde(default)]
        process: Option<u32>,
    },
    /// Entries of later versions, and entries that do not affect the outcome.
    #[serde(other)]
    Other,
}

impl Record {
    /// Parses a journal. A last line without a line break was cut off by a crash, and is skipped.
    ///
    /// # Errors
    /// Another line cannot be parsed, or the first entry does not begin a run.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut record: Option<Self> = None;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in (1..).zip(whole.lines()) {
            let line: Line = match serde_json::from_str(line) {
                Ok(line) => line,
                // A line that was cut off by a crash; the resumed run ended it with a line break.
                Err(_) if is_cut(whole, number) => continue,
                Err(source) => return Err(RecordError::Line { line: number, source }),
            };
            match (&mut record, line) {
                (None, Line::Begin { at, version: 1, run, lock, process, who, systems, reboots }) => {
                    let lock = lock.unwrap_or_else(|| run.clone());
                    record = Some(Self { run, lock, process, began: at, who, systems, reboots, ..Self::default() });
                }
                (None, _) => return Err(RecordError::Beginning),
                (Some(record), line) => record.add(line),
            }
        }
        record.ok_or(RecordError::Beginning)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Started { node } => self.started.push(node),
            Line::Rebooting { node, boot } => drop(self.rebooting.insert(node, boot)),
            Line::Node { node, result: Some(outcome) } => {
                if self.rebooting.remove(&node).is_some() {
                    self.rebooted.insert(node.clone());
                }
                self.nodes.insert(node, outcome);
            }
            Line::Ended { nodes } => {
                self.nodes = nodes;
                self.ended = true;
            }
            Line::Resumed { process } => {
                self.ended = false;
                self.process = process;
            }
            Line::Node { result: None, .. } | Line::Begin { .. } | Line::Other => {}
        }
    }

    /// Returns the run's outcome in a word: `done`, `failed`, `refused` or `cut off`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        let any = |wanted: fn(&Outcome) -> bool| self.nodes.values().any(wanted);
        if !self.ended {
            "cut off"
        } else if any(|outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Reverted { .. })) {
            "failed"
        } else if any(|outcome| matches!(outcome, Outcome::Refused { .. } | Outcome::NotStarted { .. })) {
            "refused"
        } else {
            "done"
        }
    }

    /// Returns the nodes whose system differs now, each with its recorded and its current system.
    #[must_use]
    pub fn changed<'a>(&'a self, systems: &'a BTreeMap<NodeName, StorePath>) -> Vec<(&'a NodeName, &'a str, &'a str)> {
        let pairs =
            self.systems.iter().filter_map(|(node, then)| Some((node, then.as_str(), systems.get(node)?.as_str())));
        pairs.filter(|(_, then, now)| then != now).collect()
    }
}

/// Returns true if the next line records the resumption of the run, so that this line was cut off.
fn is_cut(text: &str, number: usize) -> bool {
    text.lines().nth(number).is_some_and(|next| next.contains("\"entry\":\"resumed\""))
}

impl Records {
    /// Reads all journals in a directory. Unreadable ones are renamed and listed, never deleted.
    ///
    /// # Errors
    /// The directory cannot be read. A missing directory is not an error.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let mut records = Self::default();
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(records),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            if path.extension().is_some_and(|extension| extension == "unreadable") {
                records.unreadable.push(path);
            } else if path.extension().is_some_and(|extension| extension == "jsonl") {
                // The file may contain arbitrary bytes.
                let bytes = fs::read(&path)?;
                match Record::parse(&String::from_utf8_lossy(&bytes)) {
                    Ok(record) => records.runs.push(record),
                    Err(_) if is_only_begun(&bytes) => {}
                    Err(_) => {
                        let aside = path.with_extension("jsonl.unreadable");
                        fs::rename(&path, &aside)?;
                        records.unreadable.push(aside);
                    }
                }
            }
        }
        Ok(records)
    }
}

/// Returns true for a run that is just beginning, or was cut off within its first line: it has not changed anything
/// yet. Any other file without a complete line, such as one that a file system filled with zeros after a power failure,
/// may have been a complete journal.
fn is_only_begun(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.starts_with(b"{") && !bytes.contains(&b'\n') && !bytes.contains(&0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Record, Records};
    use crate::waves::Reboots;

    const BEGIN: &str =
        r#"{"at":"T","entry":"begin","version":1,"run":"r1","who":"ann@desk","systems":{"a":"/nix/store/x"}}"#;
    const CHANGED: &str = r#"{"at":"T","entry":"node","node":"a","result":{"outcome":"changed"}}"#;
    const ENDED: &str = r#"{"at":"T","entry":"ended","nodes":{"a":{"outcome":"changed"}}}"#;

    #[track_caller]
    fn check(lines: &[&str], expect: &str) {
        let said = Record::parse(&lines.join("\n")).map(|record| record.outcome().to_owned());
        assert_eq!(said.unwrap_or_else(|error| error.to_string()), expect);
    }

    #[test]
    fn a_run_that_came_to_its_end_is_done_or_failed_or_refused() {
        check(&[BEGIN, CHANGED, ENDED, ""], "done");
        let ended = |outcome: &str| ENDED.replace(r#"{"outcome":"changed"}"#, outcome);
        check(&[BEGIN, &ended(r#"{"outcome":"failed","why":"x","verdict":"reverted"}"#), ""], "failed");
        check(&[BEGIN, &ended(r#"{"outcome":"refused","why":"x"}"#), ""], "refused");
    }

    #[test]
    fn a_cut_leaves_half_a_line_and_a_run_that_can_be_resumed() {
        check(&[BEGIN, CHANGED, &ENDED[..20]], "cut off");
        check(&[BEGIN, r#"{"at":"T","entry":"planned","waves":[]}"#, ""], "cut off");
        check(&[BEGIN, &CHANGED[..9], r#"{"at":"T","entry":"resumed","who":"x"}"#, ENDED, ""], "done");
    }

    /// Written by the first version; such journals still exist on disks.
    #[test]
    fn the_first_journals_can_still_be_read() {
        let begin = BEGIN.replace(r#""who":"ann@desk","#, "");
        let ended =
            r#"{"at":"T","entry":"ended","nodes":{"a":{"outcome":"failed","why":"x"},"b":{"outcome":"not-started"}}}"#;
        check(&[&begin, ended, ""], "failed");
    }

    #[test]
    fn a_record_says_which_reboots_were_asked_for_and_begun() {
        let begin = BEGIN.replace(r#""systems""#, r#""reboots":"auto","systems""#);
        let rebooting = r#"{"at":"T","entry":"rebooting","node":"a","boot":"b1"}"#;
        let record = Record::parse(&format!("{begin}\n{CHANGED}\n{rebooting}\n")).unwrap();
        assert_eq!((record.reboots, record.outcome()), (Reboots::Auto, "cut off"));
        assert_eq!(record.rebooting.values().collect::<Vec<_>>(), ["b1"]);
        assert_eq!(record.rebooted.len(), 0);
        let record = Record::parse(&format!("{begin}\n{CHANGED}\n{rebooting}\n{CHANGED}\n")).unwrap();
        assert_eq!((record.rebooting.len(), record.rebooted.len()), (0, 1));
        assert_eq!(Record::parse(&format!("{BEGIN}\n")).unwrap().reboots, Reboots::Never);
    }

    #[test]
    fn what_is_no_journal_is_told() {
        check(&[BEGIN, "junk", CHANGED, ""], "line 2 is no entry of a journal");
        check(&["{}", ""], "line 1 is no entry of a journal");
        check(&[CHANGED, ""], "it does not begin as a journal that this machinist knows");
        check(&[&BEGIN.replace(":1,", ":2,"), ""], "it does not begin as a journal that this machinist knows");
        check(&[""], "it does not begin as a journal that this machinist knows");
    }

    #[test]
    fn a_record_that_cannot_be_read_is_kept_aside_and_named_never_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| std::fs::write(directory.path().join(name), text).unwrap();
        file("r1.jsonl", format!("{BEGIN}\n").as_bytes());
        file("r2.jsonl", b"\xff\xfe\njunk\n");
        file("r3.jsonl", b"");
        file("r4.jsonl", &BEGIN.as_bytes()[..20]);
        for _ in 0..2 {
            let records = Records::read(directory.path()).unwrap();
            assert_eq!(records.runs.len(), 1);
            assert_eq!(records.unreadable, [directory.path().join("r2.jsonl.unreadable")]);
        }
        assert_eq!(std::fs::read(directory.path().join("r2.jsonl.unreadable")).unwrap(), b"\xff\xfe\njunk\n");
    }

    #[test]
    fn a_journal_filled_with_zeros_is_kept_aside_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
        file("r1.jsonl", &[0; 4096]);
        file("r2.jsonl", &[BEGIN.as_bytes(), &[0; 100]].concat());
        let records = Records::read(directory.path()).unwrap();
        let aside = |name: &str| directory.path().join(name);
        assert_eq!(records.unreadable, [aside("r1.jsonl.unreadable"), aside("r2.jsonl.unreadable")]);
        assert_eq!(std::fs::read(aside("r1.jsonl.unreadable")).unwrap(), [0; 4096]);
    }
}
