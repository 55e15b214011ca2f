//! Atomic transfer of files to a host, many in one round trip; names and contents are sent on standard input.

use crate::error::RemoteError;
use crate::request::Request;
use crate::session::Remote;
use std::fmt;
use std::time::Duration;

/// Shell functions for scripts that write files that must survive a reset: `place_durably` and `write_durably`.
pub const DURABLE: &str = include_str!("durable.sh");

/// Script on the host: reads the stream that [`encode`] writes.
pub(crate) const SCRIPT: &str = concat!(include_str!("durable.sh"), include_str!("put_files.sh"));

/// A file to put on a host.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// The absolute path. Its directory must exist, or precede it as a [`RemoteDirectory`].
    pub path: String,
    /// The contents.
    pub contents: Vec<u8>,
    /// The permission bits, such as `0o400`.
    pub mode: u32,
    /// The owner and group, as `user:group`, by name or number.
    pub owner: String,
}

impl fmt::Debug for RemoteFile {
    /// Omits the contents: they are often private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteFile({} {:o} {} {} bytes)", self.path, self.mode, self.owner, self.contents.len())
    }
}

/// A directory that must exist, with this mode and owner; missing parents are created with mode 755.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDirectory {
    /// The absolute path.
    pub path: String,
    /// The permission bits, such as `0o700`.
    pub mode: u32,
    /// The owner and group, as `user:group`, by name or number.
    pub owner: String,
}

/// An entry to put on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEntry {
    /// A directory.
    Directory(RemoteDirectory),
    /// A file.
    File(RemoteFile),
}

const BAD_PATH: &str = "a path must be absolute, without a final slash or control characters";
const BAD_OWNER: &str = "an owner must be of the form user:group";
const BAD_MODE: &str = "a mode must be 7777 or less in octal";

/// Puts one file on a host; returns true if it changed anything. See [`put_files`].
///
/// # Errors
/// As [`put_files`].
pub fn put_file(remote: &dyn Remote, file: RemoteFile) -> Result<bool, RemoteError> {
    let label = format!("put {}", file.path);
    put(remote, label, &[RemoteEntry::File(file)]).map(|changed| changed == [true])
}

/// Puts files and directories on a host in one round trip, and returns for each whether it changed anything.
///
/// Files are written beside their targets under a umask of 077, get their owner and mode, and are synced. Only when all
/// have arrived completely are they renamed, in the given order. A reader sees the old contents or the new; after an
/// earlier failure, no target has changed and nothing is left behind. A file that already exists with these contents,
/// owner and mode is not touched.
///
/// # Errors
/// An entry is malformed, or the host could not write one (its message names the path), or the connection failed.
pub fn put_files(remote: &dyn Remote, entries: &[RemoteEntry]) -> Result<Vec<bool>, RemoteError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    put(remote, format!("put {} files", entries.len()), entries)
}

fn put(remote: &dyn Remote, label: String, entries: &[RemoteEntry]) -> Result<Vec<bool>, RemoteError> {
    let at = remote.endpoint().clone();
    let stream = encode(entries).map_err(|reason| RemoteError::InvalidRequest {
        at: at.clone(),
        label: label.clone(),
        reason,
    })?;
    // A minute, plus the time for the data at 1 MB/s.
    let timeout = Duration::from_secs(60 + stream.len() as u64 / 1_000_000);
    let output = remote.run_checked(Request::new(label.clone(), SCRIPT).bytes(stream).timeout(timeout))?;
    let changed: Vec<bool> = output.stdout_text().lines().map(|line| line == "changed").collect();
    let understood = output.stdout_text().lines().all(|line| line == "changed" || line == "same");
    if changed.len() != entries.len() || !understood {
        return Err(RemoteError::Answer { at, label, answer: output.stdout_text() });
    }
    Ok(changed)
}

/// Writes `KIND MODE OWNER LENGTH PATH`, a newline and the contents for each entry, then `end`.
fn encode(entries: &[RemoteEntry]) -> Result<Vec<u8>, &'static str> {
    let mut stream = Vec::new();
    for entry in entries {
        let (kind, path, mode, owner, contents) = match entry {
            RemoteEntry::Directory(directory) => ('d', &directory.path, directory.mode, &directory.owner, &[][..]),
            RemoteEntry::File(file) => ('f', &file.path, file.mode, &file.owner, file.contents.as_slice()),
        };
        check(path, mode, owner)?;
        stream.extend_from_slice(format!("{kind} {mode:o} {owner} {} {path}\n", contents.len()).as_bytes());
        stream.extend_from_slice(contents);
    }
    stream.extend_from_slice(b"end\n");
    Ok(stream)
}

fn check(path: &str, mode: u32, owner: &str) -> Result<(), &'static str> {
    // The shell's `read` would drop white space at the ends of a path.
    if !path.starts_with('/') || path.ends_with('/') || path.ends_with(' ') || path.chars().any(char::is_control) {
        return Err(BAD_PATH);
    }
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !owner.split_once(':').is_some_and(|(user, group)| is_name(user) && is_name(group)) {
        return Err(BAD_OWNER);
    }
    if mode > 0o7777 { Err(BAD_MODE) } else { Ok(()) }
}

/// Parses the output of [`encode`], for the fake; `None` if it does not have that form.
#[cfg(any(test, feature = "fake"))]
pub(crate) fn decode(mut stream: &[u8]) -> Option<Vec<RemoteEntry>> {
    let mut entries = Vec::new();
    loop {
        let end = stream.iter().position(|&byte| byte == b'\n')?;
        let header = std::str::from_utf8(&stream[..end]).ok()?;
        stream = &stream[end + 1..];
        if header == "end" {
            return stream.is_empty().then_some(entries);
        }
        let fields: Vec<&str> = header.splitn(5, ' ').collect();
        let &[kind, mode, owner, length, path] = fields.as_slice() else { return None };
        let (mode, owner, path) = (u32::from_str_radix(mode, 8).ok()?, owner.to_owned(), path.to_owned());
        let (contents, rest) = stream.split_at_checked(length.parse().ok()?)?;
        stream = rest;
        entries.push(match kind {
            "d" => RemoteEntry::Directory(RemoteDirectory { path, mode, owner }),
            _ => RemoteEntry::File(RemoteFile { path, contents: contents.to_vec(), mode, owner }),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use proptest::prelude::*;

    fn file(path: &str, contents: &[u8], mode: u32, owner: &str) -> RemoteEntry {
        RemoteEntry::File(RemoteFile { path: path.into(), contents: contents.into(), mode, owner: owner.into() })
    }

    #[test]
    fn entries_that_the_host_could_misread_are_refused() {
        for path in ["relative", "/", "/a/", "/a\nb", "/a ", ""] {
            assert_eq!(encode(&[file(path, b"", 0o600, "root:root")]), Err(BAD_PATH), "{path:?}");
        }
        for owner in ["root", "", "a b:c", "-x:y", "root:", "a:b:c"] {
            assert_eq!(encode(&[file("/a", b"", 0o600, owner)]), Err(BAD_OWNER), "{owner:?}");
        }
        assert_eq!(encode(&[file("/a", b"", 0o10000, "root:root")]), Err(BAD_MODE));
    }

    #[test]
    fn contents_never_show_in_debug_output() {
        let text = format!("{:?}", file("/key", b"hunter2", 0o400, "root:root"));
        assert!(text.contains("/key 400 root:root 7 bytes") && !text.contains("hunter2"), "{text}");
    }

    proptest! {
        #[test]
        fn a_stream_reads_back_as_its_entries(contents in proptest::collection::vec(any::<u8>(), 0..200), mode in 0_u32..0o7777, name in "[ -~é]{0,20}[!-~]") {
            let path = format!("/d/{}", name.replace('/', "_"));
            let directory = RemoteEntry::Directory(RemoteDirectory { path: "/d".into(), mode: 0o700, owner: "root:root".into() });
            let entries = vec![directory, file(&path, &contents, mode, "etcd:0")];
            prop_assert_eq!(decode(&encode(&entries).unwrap()), Some(entries));
        }
    }
}
