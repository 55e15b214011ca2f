//! Pinned host keys of a cluster: `state/known_hosts`, in OpenSSH's known_hosts format.
//!
//! The file is committed and shared by the operators, so it is sorted, not hashed, with one line per host and key.
//! OpenSSH's own commands can read it: `ssh -o UserKnownHostsFile=state/known_hosts ...`.

use crate::fingerprint::Fingerprint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A host's public key in wire form (RFC 4253, 6.6), which begins with the name of its algorithm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostKey {
    algorithm: String,
    blob: Vec<u8>,
}

impl HostKey {
    /// Parses a key in wire form; `None` if it does not begin with the name of an algorithm.
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let name = rest.get(..u32::from_be_bytes(*length) as usize)?;
        let algorithm = std::str::from_utf8(name).ok().filter(|name| is_algorithm_name(name))?;
        Some(Self { algorithm: algorithm.to_owned(), blob: blob.to_vec() })
    }

    /// Parses `ALGORITHM BASE64 [COMMENT]`, the form of `.pub` files; `None` for any other form.
    pub fn from_openssh(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace();
        let algorithm = fields.next()?;
        let key = Self::from_blob(&STANDARD.decode(fields.next()?).ok()?)?;
        (key.algorithm == algorithm).then_some(key)
    }

    /// Returns the key's algorithm, such as `ssh-ed25519`.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// Returns the key's SHA256 fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_key_blob(&self.blob)
    }

    /// Returns `ALGORITHM BASE64`, without comment.
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }
}

fn is_algorithm_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// Returns the host's name in known_hosts: `host`, or `[host]:port` for a port other than 22.
pub fn host_pattern(host: &str, port: u16) -> String {
    // OpenSSH compares names in lower case.
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Error of a known_hosts file.
#[allow(
    missing_docs,
    reason = "`path` is the file, `line` a number from 1, `reason` the problem, `source` the system's error"
)]
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    /// The file exists but cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The file cannot be replaced; the old one is unchanged.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A line has a form that a pinned host key never has.
    #[error("{}:{line}: {reason}", path.display())]
    Line { path: PathBuf, line: usize, reason: &'static str },
}

impl KnownHostsError {
    /// Returns the way to fix it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Line { path, line, .. } => Some(format!(
                "write line {line} of {} as `HOST ALGORITHM BASE64`, as `ssh-keyscan HOST` prints it, or remove it",
                path.display()
            )),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}

/// Content of the file: comments in their order, then the keys of each host, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entries {
    comments: Vec<String>,
    keys: BTreeMap<String, Vec<HostKey>>,
}

/// The pinned host keys. Shared by reference between the threads that connect to hosts.
#[derive(Debug)]
pub struct KnownHosts {
    path: PathBuf,
    entries: Mutex<Entries>,
    nodes: BTreeMap<String, String>,
}

impl Clone for KnownHosts {
    /// Returns a copy of the current pins; later ones are not shared.
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), entries: Mutex::new(self.lock().clone()), nodes: self.nodes.clone() }
    }
}

impl KnownHosts {
    /// Reads the file; a missing file means no pins.
    ///
    /// # Errors
    /// The file cannot be read, or a line is hashed, has a marker (`@cert-authority`) or is not a key: such lines would
    /// be lost on writing, so the complete file is rejected.
    pub fn load(path: &Path) -> Result<Self, KnownHostsError> {
        Ok(Self { path: path.to_owned(), entries: Mutex::new(read(path)?), nodes: BTreeMap::new() })
    }

    /// Assigns hosts, as named by [`host_pattern`], to nodes: two nodes never share a key. A line that belongs to no
    /// node, such as that of a machine with a new address, has no effect.
    #[must_use]
    pub fn of_nodes(mut self, nodes: BTreeMap<String, String>) -> Self {
        self.nodes = nodes;
        self
    }

    /// Returns a node other than that of `pattern` for which the key is pinned, if there is one.
    pub fn other_node(&self, pattern: &str, key: &HostKey) -> Option<String> {
        let entries = self.lock();
        let others = self.nodes.iter().filter(|(other, _)| *other != pattern);
        let has_key = |other: &str| entries.keys.get(other).is_some_and(|keys| keys.contains(key));
        others.into_iter().find(|(other, _)| has_key(other)).map(|(_, node)| node.clone())
    }

    /// Returns the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the keys pinned for a host as named by [`host_pattern`]; none for an unknown host.
    pub fn keys(&self, pattern: &str) -> Vec<HostKey> {
        self.lock().keys.get(pattern).cloned().unwrap_or_default()
    }

    /// Pins `key` as the host's only key and writes the file atomically; returns true if anything changed.
    ///
    /// # Errors
    /// The file has become unreadable, or is not writable.
    pub fn pin(&self, pattern: &str, key: HostKey) -> Result<bool, KnownHostsError> {
        self.change(|entries| {
            entries.keys.insert(pattern.to_owned(), vec![key]);
        })
    }

    /// Removes a host and writes the file atomically; returns true if anything changed.
    ///
    /// # Errors
    /// The file has become unreadable, or is not writable.
    pub fn forget(&self, pattern: &str) -> Result<bool, KnownHostsError> {
        self.change(|entries| {
            entries.keys.remove(pattern);
        })
    }

    fn change(&self, edit: impl FnOnce(&mut Entries)) -> Result<bool, KnownHostsError> {
        let mut entries = self.lock();
        // Read again: another process may have pinned a key in the meantime.
        let before = read(&self.path)?;
        let mut after = before.clone();
        edit(&mut after);
        if after != before {
            write(&self.path, &render(&after))?;
        }
        let changed = after != before;
        *entries = after;
        Ok(changed)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Entries, KnownHostsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            parse(&text).map_err(|(line, reason)| KnownHostsError::Line { path: path.to_owned(), line, reason })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entries::default()),
        Err(source) => Err(KnownHostsError::Read { path: path.to_owned(), source }),
    }
}

fn parse(text: &str) -> Result<Entries, (usize, &'static str)> {
    let mut entries = Entries::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            entries.comments.push(line.to_owned());
        } else if !line.is_empty() {
            let (patterns, key) = parse_line(line).map_err(|reason| (index + 1, reason))?;
            for pattern in patterns.split(',') {
                let keys = entries.keys.entry(pattern.to_ascii_lowercase()).or_default();
                if !keys.contains(&key) {
                    keys.push(key.clone());
                    keys.sort();
                }
            }
        }
    }
    Ok(entries)
}

fn parse_line(line: &str) -> Result<(&str, HostKey), &'static str> {
    if line.starts_with('@') {
        return Err("markers such as @cert-authority and @revoked are not supported");
    }
    let (patterns, key) = line.split_once(char::is_whitespace).ok_or("no key after the host's name")?;
    if patterns.starts_with('|') {
        return Err("hashed host names are not supported");
    }
    if patterns.contains(['*', '?', '!']) {
        return Err("a pattern in place of a host's name is not supported");
    }
    if patterns.split(',').any(str::is_empty) {
        return Err("an empty host name");
    }
    HostKey::from_openssh(key).map(|key| (patterns, key)).ok_or("not a public key of the form ALGORITHM BASE64")
}

fn render(entries: &Entries) -> String {
    let keys = entries
        .keys
        .iter()
        .flat_map(|(pattern, keys)| keys.iter().map(move |key| format!("{pattern} {}\n", key.to_openssh())));
    entries.comments.iter().map(|comment| format!("{comment}\n")).chain(keys).collect()
}

/// Replaces the file atomically: a reader sees the old text or the new one.
fn write(path: &Path, text: &str) -> Result<(), KnownHostsError> {
    // Public keys: readable like the other committed files.
    machinist_durable::create_directories(machinist_durable::directory_of(path))
        .and_then(|()| machinist_durable::replace(path, text.as_bytes(), 0o644))
        .map_err(|source| KnownHostsError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
