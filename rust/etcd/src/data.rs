//! Reading what etcd holds, through `etcdctl` on a member.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use thiserror::Error;

/// Reads keys. Set before these lines: endpoint (the member's URL), key, prefix (`yes` or empty) and keys_only (`yes` or empty).
pub const GET: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=30s --dial-timeout=3s --endpoints=\"$endpoint\" get --write-out=json \
  ${prefix:+--prefix} ${keys_only:+--keys-only} -- \"$key\"
";

/// Tells each change from a revision on, a line of JSON each, for as long as it is let. Set before these lines: endpoint, key,
/// prefix (`yes` or empty), revision, and seconds: how long; the status is 124 then. For `watch`, `--` begins a command to run.
pub const WATCH: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
timeout \"$seconds\" machinist-etcdctl --dial-timeout=3s --endpoints=\"$endpoint\" watch --write-out=json --rev=\"$revision\" \
  ${prefix:+--prefix} \"$key\"
";

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The value; empty where only keys were asked for.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub revision: u64,
    /// The lease that it goes away with; 0 for none.
    pub lease: i64,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whether the key is gone.
    pub deleted: bool,
    /// What it is now; without a value if it is gone.
    pub entry: Entry,
}

/// A part of what a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// The revision that etcd is at.
    pub revision: u64,
    /// If the revision that was asked for is no longer there: the oldest that is.
    pub compacted: Option<u64>,
}

/// Why an answer cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// It is not etcdctl's.
    #[error("the answer of etcdctl cannot be read")]
    Format(#[source] serde_json::Error),
    /// A key or value is no base64.
    #[error("a key or value in the answer of etcdctl cannot be read")]
    Base64(#[source] base64::DecodeError),
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    revision: u64,
}

#[derive(Deserialize)]
struct Got {
    header: Header,
    #[serde(default)]
    kvs: Vec<RawEntry>,
}

#[derive(Deserialize)]
struct RawEntry {
    key: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    mod_revision: u64,
    #[serde(default)]
    lease: i64,
}

impl RawEntry {
    fn decode(&self) -> Result<Entry, DataError> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(DataError::Base64);
        let (key, value) = (bytes(&self.key)?, bytes(&self.value)?);
        Ok(Entry { key, value, revision: self.mod_revision, lease: self.lease })
    }
}

/// etcdctl writes watch responses as Go names them, and an event's kind as a number that is left out for a put.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Watched {
    header: Header,
    #[serde(default)]
    events: Option<Vec<RawEvent>>,
    #[serde(default)]
    compact_revision: u64,
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(default, rename = "type")]
    kind: u8,
    kv: RawEntry,
}

/// Reads the answer of [`GET`]: the revision that etcd is at, and the entries, sorted by key.
///
/// # Errors
/// The answer is not etcdctl's.
pub fn entries(stdout: &str) -> Result<(u64, Vec<Entry>), DataError> {
    let got: Got = serde_json::from_str(stdout.trim()).map_err(DataError::Format)?;
    let entries = got.kvs.iter().map(RawEntry::decode).collect::<Result<_, _>>()?;
    Ok((got.header.revision, entries))
}

/// Reads a line of the answer of [`WATCH`].
///
/// # Errors
/// The line is not etcdctl's.
pub fn changes(line: &str) -> Result<Changes, DataError> {
    let watched: Watched = serde_json::from_str(line.trim()).map_err(DataError::Format)?;
    let decode = |event: &RawEvent| Ok(Change { deleted: event.kind == 1, entry: event.kv.decode()? });
    let changes = watched.events.unwrap_or_default().iter().map(decode).collect::<Result<_, DataError>>()?;
    let compacted = (watched.compact_revision > 0).then_some(watched.compact_revision);
    Ok(Changes { changes, revision: watched.header.revision, compacted })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn entries_are_decoded() {
        // As etcdctl 3.5 writes it.
        let answer = r#"{"header":{"cluster_id":1,"member_id":2,"revision":7,"raft_term":3},"kvs":[{"key":"L2E=","create_revision":5,"mod_revision":6,"version":2,"value":"eA==","lease":7587}],"count":1}"#;
        let entry = Entry { key: b"/a".to_vec(), value: b"x".to_vec(), revision: 6, lease: 7587 };
        assert_eq!(entries(answer).unwrap(), (7, vec![entry]));
    }

    #[test]
    fn a_key_that_is_not_there_is_an_empty_answer() {
        assert_eq!(entries(r#"{"header":{"revision":7}}"#).unwrap(), (7, Vec::new()));
    }

    #[test]
    fn puts_and_deletions_are_told_apart() {
        let line = r#"{"Header":{"revision":9},"Events":[{"kv":{"key":"L2E=","mod_revision":8,"value":"eA=="}},{"type":1,"kv":{"key":"L2I=","mod_revision":9}}],"CompactRevision":0,"Canceled":false,"Created":false}"#;
        let told = changes(line).unwrap();
        let kinds: Vec<_> = told.changes.iter().map(|change| (change.deleted, change.entry.key.clone())).collect();
        assert_eq!(kinds, [(false, b"/a".to_vec()), (true, b"/b".to_vec())]);
        assert_eq!((told.revision, told.compacted), (9, None));
    }

    #[test]
    fn a_compacted_revision_is_told_with_the_oldest_that_is_there() {
        let line = r#"{"Header":{"revision":9},"Events":[],"CompactRevision":8,"Canceled":true,"Created":false}"#;
        assert_eq!(changes(line).unwrap().compacted, Some(8));
    }

    #[test]
    fn what_is_not_etcdctls_is_an_error() {
        for answer in ["", "Error: context deadline exceeded", r#"{"header":{"revision":1},"kvs":[{"key":"%"}]}"#] {
            assert!(entries(answer).is_err(), "{answer}");
        }
    }
}
