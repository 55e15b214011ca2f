//! Journal of a run on the operator's computer: JSON lines, one written and flushed for each decision and action, so
//! that an interrupted run can be read afterwards and resumed.

mod record;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    outcome::Outcome,
    target::Target,
    waves::{Reboots, Wave},
};

pub use record::{Record, RecordError, Records};

/// A run's journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

/// One line of the journal.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    at: String,
    #[serde(flatten)]
    what: serde_json::Value,
}

impl Journal {
    /// Begins the journal of a run in the directory.
    ///
    /// # Errors
    /// The directory or the file cannot be created.
    pub fn begin(directory: &Path, run: &str) -> io::Result<Self> {
        machinist_durable::create_directories(directory)?;
        let path = directory.join(format!("{run}.jsonl"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        claim(&file)?;
        machinist_durable::sync_directory(directory)?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Continues the journal of an interrupted run.
    ///
    /// # Errors
    /// The file is missing or cannot be written, or its previous writer still exists ([`io::ErrorKind::WouldBlock`]).
    pub fn resume(directory: &Path, run: &str) -> io::Result<Self> {
        let path = directory.join(format!("{run}.jsonl"));
        let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
        claim(&file)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // An incomplete last line is ended, so that the next entry begins a new one.
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Returns the path of the journal.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line and syncs it to the disk.
    ///
    /// # Errors
    /// The disk is full or missing.
    pub fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = machinist_text::json(&serde_json::to_string(entry)?).into_owned();
        line.push('\n');
        // A panic while the lock is held leaves at most one complete line more, so continuing is safe.
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(line.as_bytes())?;
        file.sync_data()
    }
}

/// Locks the journal: it has one writer for as long as that process exists, suspended or not.
fn claim(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        // On file systems without locks, the locks on the nodes suffice.
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Entry {
    fn new(what: serde_json::Value) -> Self {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        Self { at, what }
    }

    /// `lock` is the run name in the nodes' locks: that of the command's first run.
    pub(crate) fn begin(run: &str, lock: &str, who: &str, targets: &[Target], reboots: Reboots) -> Self {
        let systems: serde_json::Map<String, serde_json::Value> =
            targets.iter().map(|target| (target.node.to_string(), target.system.as_str().into())).collect();
        Self::new(serde_json::json!({
            "entry": "begin", "version": 1, "run": run, "lock": lock, "who": who, "systems": systems, "reboots": reboots,
            "process": std::process::id(),
        }))
    }

    pub(crate) fn planned(waves: &[Wave]) -> Self {
        Self::new(serde_json::json!({ "entry": "planned", "waves": waves }))
    }

    pub(crate) fn resumed(who: &str) -> Self {
        Self::new(serde_json::json!({ "entry": "resumed", "who": who, "process": std::process::id() }))
    }

    pub(crate) fn started(node: &NodeName, old: Option<&StorePath>) -> Self {
        Self::new(serde_json::json!({ "entry": "started", "node": node, "old": old.map(StorePath::as_str) }))
    }

    /// `boot` is the boot to be ended: any other one means that the reboot has happened.
    pub(crate) fn rebooting(node: &NodeName, boot: &str) -> Self {
        Self::new(serde_json::json!({ "entry": "rebooting", "node": node, "boot": boot }))
    }

    pub(crate) fn node(node: &NodeName, outcome: Option<&Outcome>) -> Self {
        Self::new(serde_json::json!({ "entry": "node", "node": node, "result": outcome }))
    }

    pub(crate) fn ended(nodes: &std::collections::BTreeMap<NodeName, Outcome>) -> Self {
        Self::new(serde_json::json!({ "entry": "ended", "nodes": nodes }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::{Entry, Journal};
    use crate::waves::Reboots;

    #[test]
    fn a_run_is_recorded_a_line_at_a_time_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::begin(&directory.path().join("runs"), "r1").unwrap();
        journal.append(&Entry::begin("r1", "r1", "ann@desk", &[], Reboots::Never)).unwrap();
        journal.append(&Entry::planned(&[])).unwrap();
        let text = std::fs::read_to_string(journal.path()).unwrap();
        let entries: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(entries[0]["entry"], "begin");
        assert_eq!(entries[1]["entry"], "planned");
        assert!(Journal::begin(&directory.path().join("runs"), "r1").is_err());
    }

    #[test]
    fn a_journal_holds_nothing_that_a_terminal_acts_on() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::begin(directory.path(), "r1").unwrap();
        journal.append(&Entry::resumed("eve\u{9b}2J\u{1b}]52;c;x\u{7}\u{202e}@host")).unwrap();
        let text = std::fs::read_to_string(journal.path()).unwrap();
        assert!(!text.contains(machinist_text::is_active), "{text}");
        let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(entry["who"], "eve\u{9b}2J\u{1b}]52;c;x\u{7}\u{202e}@host");
    }

    #[test]
    fn a_run_is_not_resumed_while_its_first_process_exists() {
        let directory = tempfile::tempdir().unwrap();
        let first = Journal::begin(directory.path(), "r1").unwrap();
        let resumed = Journal::resume(directory.path(), "r1");
        assert_eq!(resumed.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(first);
        // A child that another test has just started holds a copy of the descriptor until it executes its program.
        let deadline = Instant::now() + Duration::from_secs(10);
        let again = loop {
            let resumed = Journal::resume(directory.path(), "r1");
            if resumed.is_ok() || Instant::now() > deadline {
                break resumed;
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert!(again.is_ok());
    }
}
