//! Validation of etcd snapshots.
//!
//! `etcdctl snapshot save` writes the database, a bbolt file in pages of at least 512 bytes, followed by its SHA-256
//! (etcd's `etcdutl/snapshot` detects that in the same way).

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

const DIGEST: usize = 32;
const PAGE: u64 = 512;

/// A valid snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    pub digest: String,
}

/// Error of a snapshot.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file cannot be read to its end.
    #[error("cannot read the snapshot to its end")]
    Read(#[source] io::Error),
    /// The file is not a snapshot, or is a copy of the database file, which may have been taken during a write.
    #[error("not an etcd snapshot ({bytes} bytes, without etcd's digest at the end)")]
    Foreign {
        /// Size of the file.
        bytes: u64,
    },
    /// The content does not match etcd's digest.
    #[error("the snapshot is damaged: its content does not match its digest")]
    Damaged,
}

/// Reads a snapshot to its end and validates it.
///
/// # Errors
/// It cannot be read, or is invalid.
pub fn check(mut snapshot: impl Read) -> Result<Whole, SnapshotError> {
    let (mut all, mut database) = (Sha256::new(), Sha256::new());
    // The last bytes so far, which may be the digest.
    let mut tail: Vec<u8> = Vec::with_capacity(DIGEST);
    let mut bytes = 0_u64;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = match snapshot.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SnapshotError::Read(error)),
        };
        let read = buffer.get(..count).unwrap_or_default();
        all.update(read);
        bytes += count as u64;
        tail.extend_from_slice(read);
        let surplus = tail.len().saturating_sub(DIGEST);
        database.update(tail.get(..surplus).unwrap_or_default());
        tail.drain(..surplus);
    }
    if bytes <= DIGEST as u64 || bytes % PAGE != DIGEST as u64 {
        return Err(SnapshotError::Foreign { bytes });
    }
    if database.finalize().as_slice() != tail {
        return Err(SnapshotError::Damaged);
    }
    let digest = all.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Whole { bytes, digest })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn snapshot(pages: usize) -> Vec<u8> {
        let database = vec![7; pages * 512];
        let digest = Sha256::digest(&database);
        [database, digest.to_vec()].concat()
    }

    /// Yields a few bytes at a time, so that the digest is split.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(13).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            buffer.get_mut(..count).unwrap().copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn what_etcd_wrote_is_whole_however_it_is_read() {
        let file = snapshot(3);
        let whole = check(file.as_slice()).unwrap();
        assert_eq!(whole.bytes, 3 * 512 + 32);
        assert_eq!(check(Slow(&file)).unwrap(), whole);
    }

    #[test]
    fn a_changed_byte_is_found() {
        let mut file = snapshot(3);
        *file.get_mut(700).unwrap() ^= 1;
        assert!(matches!(check(file.as_slice()), Err(SnapshotError::Damaged)));
    }

    #[test]
    fn a_copy_of_the_database_or_a_cut_file_is_no_snapshot() {
        let file = snapshot(3);
        for cut in [0, 31, 32, 512, file.len() - 1, 3 * 512] {
            let checked = check(file.get(..cut).unwrap());
            assert!(matches!(checked, Err(SnapshotError::Foreign { bytes }) if bytes == cut as u64), "{cut}");
        }
    }
}
