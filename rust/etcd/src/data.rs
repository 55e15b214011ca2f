//! Reads of etcd's keys, through `etcdctl` on a member.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use thiserror::Error;

/// Reads keys. Input variables: endpoint (the member's URL), key, prefix (`yes` or empty) and keys_only (`yes` or
/// empty).
pub const GET: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=30s --dial-timeout=3s --endpoints=\"$endpoint\" get --write-out=json \
  ${prefix:+--prefix} ${keys_only:+--keys-only} -- \"$key\"
";

/// Prints each change from a revision on as a line of JSON, for a limited time. Input variables: endpoint, key, prefix
/// (`yes` or empty), revision, and seconds, after which it ends with status 124. For `watch`, `--` begins a command to
/// run.
pub const WATCH: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
timeout \"$seconds\" machinist-etcdctl --dial-timeout=3s --endpoints=\"$endpoint\" watch --write-out=json --rev=\"$revision\" \
  ${prefix:+--prefix} \"$key\"
";

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, any bytes.
    pub key: Vec<u8>,
    /// The value; empty if only keys were requested.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub revision: u64,
    /// The lease of the key; 0 for none.
    pub lease: i64,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// True if the key was deleted.
    pub deleted: bool,
    /// The new key and value; the value is empty after a deletion.
    pub entry: Entry,
}

/// One response of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The changes, oldest first.
    pub changes: Vec<Change>,
    /// The current revision of etcd.
    pub revision: u64,
    /// The oldest available revision, if the requested one has been compacted.
    pub compacted: Option<u64>,
}

/// Error in etcdctl's output.
#[derive(Debug, Error)]
pub enum DataError {
    /// The output is not valid JSON of the expected form.
    #[error("invalid output of etcdctl")]
    Format(#[source] serde_json::Error),
    /// A key or value is not valid base64.
    #[error("invalid key or value in the output of etcdctl")]
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

/// etcdctl prints watch responses with Go's field names, and an event's type as a number that is omitted for a put.
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

/// Parses the output of [`GET`]: etcd's current revision, and the entries, sorted by key.
///
/// # Errors
/// The output is invalid.
pub fn entries(stdout: &str) -> Result<(u64, Vec<Entry>), DataError> {
    let got: Got = serde_json::from_str(stdout.trim()).map_err(DataError::Format)?;
    let entries = got.kvs.iter().map(RawEntry::decode).collect::<Result<_, _>>()?;
    Ok((got.header.revision, entries))
}

/// Parses a line of the output of [`WATCH`].
///
/// # Errors
/// The line is invalid.
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
    fn a_missing_key_is_an_empty_answer() {
        assert_eq!(entries(r#"{"header":{"revision":7}}"#).unwrap(), (7, Vec::new()));
    }

    #[test]
    fn puts_and_deletions_are_distinguished() {
        let line = r#"{"Header":{"revision":9},"Events":[{"kv":{"key":"L2E=","mod_revision":8,"value":"eA=="}},{"type":1,"kv":{"key":"L2I=","mod_revision":9}}],"CompactRevision":0,"Canceled":false,"Created":false}"#;
        let told = changes(line).unwrap();
        let kinds: Vec<_> = told.changes.iter().map(|change| (change.deleted, change.entry.key.clone())).collect();
        assert_eq!(kinds, [(false, b"/a".to_vec()), (true, b"/b".to_vec())]);
        assert_eq!((told.revision, told.compacted), (9, None));
    }

    #[test]
    fn a_compacted_revision_is_reported_with_the_oldest_available() {
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
