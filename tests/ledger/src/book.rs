//! Record of acknowledged writes and of reads, and the verdict. Pure, except for the file that acknowledged writes are
//! appended to.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::error::LedgerError;

/// Returns the key of a numbered write; keys sort like their numbers.
pub fn key(prefix: &str, number: u64) -> String {
    format!("{prefix}/key/{number:012}")
}

/// The events so far.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    file: File,
    /// Revision of each acknowledged write, by its number.
    acknowledged: BTreeMap<u64, i64>,
    refused: u64,
    reads: u64,
    /// The highest revisions that any read returned, of the store and of the key.
    seen: (i64, i64),
    wrong_reads: Vec<String>,
    begun: Instant,
    last_success: Instant,
    /// The longest time without a successful write, and its start.
    gap: (Duration, Duration),
}

/// The final result of the ledger.
#[derive(Debug)]
pub struct Verdict {
    acknowledged: usize,
    refused: u64,
    reads: u64,
    lost: Vec<u64>,
    wrong_reads: Vec<String>,
    gap: (Duration, Duration),
}

impl Book {
    /// Starts a book whose acknowledged writes are appended to a file.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| LedgerError::File { path: path.to_owned(), source })?;
        let now = Instant::now();
        Ok(Self {
            path: path.to_owned(),
            file,
            acknowledged: BTreeMap::new(),
            refused: 0,
            reads: 0,
            seen: (0, 0),
            wrong_reads: Vec::new(),
            begun: now,
            last_success: now,
            gap: (Duration::ZERO, Duration::ZERO),
        })
    }

    /// Records a write that etcd acknowledged.
    pub fn acknowledged(&mut self, number: u64, revision: i64) -> Result<(), LedgerError> {
        self.end_of_writing();
        self.acknowledged.insert(number, revision);
        let line = format!("{number} {revision}\n");
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|source| LedgerError::File { path: self.path.clone(), source })
    }

    /// Records a write that was not acknowledged.
    pub fn refused(&mut self) {
        self.refused += 1;
    }

    /// Ends the time since the last successful write.
    pub fn end_of_writing(&mut self) {
        let now = Instant::now();
        let gap = now - self.last_success;
        if gap > self.gap.0 {
            self.gap = (gap, self.last_success - self.begun);
        }
        self.last_success = now;
    }

    /// Returns the latest acknowledged revision.
    pub fn last_acknowledged(&self) -> i64 {
        self.acknowledged.last_key_value().map_or(0, |(_, revision)| *revision)
    }

    /// Records a read that was started after `before` was acknowledged, with the store's revision and that of the key.
    /// The number in the key may decrease: an abandoned write may take effect late. A revision must not.
    pub fn read(&mut self, endpoint: &str, before: i64, store: i64, key: i64) {
        self.reads += 1;
        let least = (self.seen.0.max(before), self.seen.1.max(before));
        if store < least.0 || key < least.1 {
            let seconds = self.begun.elapsed().as_secs_f64();
            let what = format!(
                "after {seconds:.1} s {endpoint} returned {key} of {store}, where {} of {} were known",
                least.1, least.0
            );
            self.wrong_reads.push(what);
        }
        self.seen = (self.seen.0.max(store), self.seen.1.max(key));
    }

    /// Compares the book with the final content of etcd.
    pub fn verdict(&self, found: &[(u64, i64)]) -> Verdict {
        let found: BTreeMap<u64, i64> = found.iter().copied().collect();
        let is_lost = |(number, revision): &(&u64, &i64)| found.get(number) != Some(revision);
        Verdict {
            acknowledged: self.acknowledged.len(),
            refused: self.refused,
            reads: self.reads,
            lost: self.acknowledged.iter().filter(is_lost).map(|(number, _)| *number).collect(),
            wrong_reads: self.wrong_reads.clone(),
            gap: self.gap,
        }
    }
}

impl Verdict {
    /// Returns true if something was written and read, no write is lost, and no read went back.
    pub fn is_well(&self) -> bool {
        self.acknowledged > 0 && self.reads > 0 && self.lost.is_empty() && self.wrong_reads.is_empty()
    }

    /// Returns the verdict as one line of JSON, times in seconds.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "acknowledged": self.acknowledged,
            "notAcknowledged": self.refused,
            "reads": self.reads,
            "lost": self.lost,
            "readsThatWentBack": self.wrong_reads,
            "longestGap": (self.gap.0.as_secs_f64() * 100.0).round() / 100.0,
            "longestGapBegan": self.gap.1.as_secs_f64().round(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn book() -> (tempfile::TempDir, Book) {
        let directory = tempfile::tempdir().unwrap();
        let book = Book::open(&directory.path().join("acknowledged")).unwrap();
        (directory, book)
    }

    #[test]
    fn an_acknowledged_write_that_is_missing_or_another_is_lost() {
        let (directory, mut book) = book();
        for (number, revision) in [(1, 10), (2, 11), (4, 13)] {
            book.acknowledged(number, revision).unwrap();
        }
        book.read("a", 13, 13, 13);
        assert!(book.verdict(&[(1, 10), (2, 11), (3, 12), (4, 13)]).is_well(), "3 was written and not acknowledged");
        assert_eq!(book.verdict(&[(1, 10), (2, 12)]).lost, [2, 4]);
        let text = std::fs::read_to_string(directory.path().join("acknowledged")).unwrap();
        assert_eq!(text, "1 10\n2 11\n4 13\n");
    }

    #[test]
    fn a_read_behind_another_read_or_behind_an_acknowledged_write_went_back() {
        let (_directory, mut book) = book();
        book.read("a", 0, 20, 19);
        book.read("b", 0, 20, 19);
        assert_eq!(book.wrong_reads.len(), 0);
        book.read("b", 0, 19, 19);
        book.read("c", 0, 21, 18);
        assert_eq!(book.wrong_reads.len(), 2, "{:?}", book.wrong_reads);
        book.read("a", 25, 24, 24);
        assert_eq!(book.wrong_reads.len(), 3);
        assert!(!book.verdict(&[]).is_well());
    }

    #[test]
    fn a_ledger_that_wrote_nothing_proves_nothing() {
        let (_directory, book) = book();
        assert!(!book.verdict(&[]).is_well());
    }

    #[test]
    fn the_longest_time_without_a_write_counts_to_the_end() {
        let (_directory, mut book) = book();
        book.last_success = book.begun;
        std::thread::sleep(Duration::from_millis(30));
        book.end_of_writing();
        assert!(book.verdict(&[]).gap.0 >= Duration::from_millis(30));
    }
}
