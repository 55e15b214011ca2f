//! Reads a bucket of a bbolt database, the file format of etcd's data, a few pages at a time. Pure: the caller reads.
//!
//! The format is that of go.etcd.io/bbolt (`page.go`, `bucket.go`): pages with a header of 16 bytes, two meta pages, and a
//! B+ tree of buckets. Numbers are little-endian, as on all platforms of NixOS.

use std::{cmp::Ordering, io};

use thiserror::Error;

/// Largest page size that bbolt chooses, in bytes.
const MAX_PAGE: u64 = 65_536;

/// Largest number of bytes read for one page with its overflow: a bucket of members has a few KiB.
const MAX_READ: u64 = 16 << 20;

/// Largest number of pages read for one bucket.
const MAX_PAGES: usize = 512;

/// Largest size of all keys and values of one bucket, in bytes. Elements of a damaged page may overlap, so that copies of
/// them would be larger than the page by far.
const MAX_PAIRS: usize = 32 << 20;

const HEADER: usize = 16;
const ELEMENT: usize = 16;
const MAGIC: u32 = 0xED0C_DAED;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const IS_BUCKET: u32 = 0x01;

/// Reads bytes of the database: offset, length.
pub type Read<'a> = dyn FnMut(u64, u64) -> io::Result<Vec<u8>> + 'a;

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Reason why a database cannot be read.
#[derive(Debug, Error)]
pub enum BoltError {
    /// The bytes cannot be read.
    #[error("the database cannot be read")]
    Read(#[from] io::Error),
    /// The bytes are not a database, or it is damaged.
    #[error("this is not a database of etcd, or it is damaged: {0}")]
    Format(&'static str),
}

/// Returns the pairs of a bucket, sorted by key; empty if there is no such bucket.
///
/// # Errors
/// The database cannot be read, or is damaged.
pub fn bucket(read: &mut Read<'_>, name: &[u8]) -> Result<Vec<Pair>, BoltError> {
    let first = read(0, 80)?;
    let size = u64::from(u32_at(&first, 24)?);
    if u32_at(&first, 16)? != MAGIC || !(512..=MAX_PAGE).contains(&size) {
        return Err(BoltError::Format("no meta page"));
    }
    let second = read(size, 80)?;
    let newer = if u64_at(&second, 64)? > u64_at(&first, 64)? { &second } else { &first };
    let root = u64_at(newer, 32)?;
    let mut tree = Tree { read, size, left: MAX_PAGES, room: MAX_PAIRS };
    let Some(value) = tree.pairs(root)?.into_iter().find(|(is_bucket, pair)| *is_bucket && pair.0 == name) else {
        return Ok(Vec::new());
    };
    let value = value.1.1;
    let pairs = match u64_at(&value, 0)? {
        // A small bucket is a page in its parent's value.
        0 => leaf(value.get(HEADER..).ok_or(BoltError::Format("a bucket is cut off"))?, &mut tree.room)?,
        page => tree.pairs(page)?,
    };
    let mut pairs: Vec<Pair> = pairs.into_iter().map(|(_, pair)| pair).collect();
    pairs.sort_by(|a, b| if a.0 < b.0 { Ordering::Less } else { Ordering::Greater });
    Ok(pairs)
}

/// The pages of a database.
struct Tree<'a, 'b> {
    read: &'a mut Read<'b>,
    size: u64,
    /// Number of pages that may still be read.
    left: usize,
    /// Size of the keys and values that may still be copied.
    room: usize,
}

impl Tree<'_, '_> {
    /// Returns all pairs below a page, each with true if it is a bucket.
    fn pairs(&mut self, root: u64) -> Result<Vec<(bool, Pair)>, BoltError> {
        let (mut open, mut pairs) = (vec![root], Vec::new());
        while let Some(id) = open.pop() {
            let page = self.page(id)?;
            match u16_at(&page, 8)? {
                LEAF => pairs.extend(leaf(&page, &mut self.room)?),
                BRANCH => open.extend(children(&page)?),
                _ => return Err(BoltError::Format("a page of an unknown kind")),
            }
        }
        Ok(pairs)
    }

    fn page(&mut self, id: u64) -> Result<Vec<u8>, BoltError> {
        self.left = self.left.checked_sub(1).ok_or(BoltError::Format("a bucket with too many pages"))?;
        let at = id.checked_mul(self.size).ok_or(BoltError::Format("a page outside of the file"))?;
        let page = (self.read)(at, self.size)?;
        if u64_at(&page, 0)? != id {
            return Err(BoltError::Format("a page has another number"));
        }
        let more = u64::from(u32_at(&page, 12)?) * self.size;
        match more {
            0 => Ok(page),
            more if more < MAX_READ => Ok((self.read)(at, self.size + more)?),
            _ => Err(BoltError::Format("a page is too large")),
        }
    }
}

fn elements(page: &[u8]) -> Result<impl Iterator<Item = usize>, BoltError> {
    Ok((0..usize::from(u16_at(page, 10)?)).map(|index| HEADER + index * ELEMENT))
}

fn children(page: &[u8]) -> Result<Vec<u64>, BoltError> {
    elements(page)?.map(|at| u64_at(page, at + 8)).collect()
}

/// Returns the pairs of a leaf, whose sizes are subtracted from `room`.
fn leaf(page: &[u8], room: &mut usize) -> Result<Vec<(bool, Pair)>, BoltError> {
    let pair = |at: usize| {
        let [flags, position, key, value] = [0, 4, 8, 12].map(|offset| u32_at(page, at + offset));
        let (key, value) = (key? as usize, value? as usize);
        let begin = at.checked_add(position? as usize).ok_or(CUT)?;
        let middle = begin.checked_add(key).ok_or(CUT)?;
        let end = middle.checked_add(value).ok_or(CUT)?;
        *room = room.checked_sub(end - begin).ok_or(BoltError::Format("a bucket is too large"))?;
        let bytes = |from: usize, to: usize| page.get(from..to).map(<[u8]>::to_vec).ok_or(CUT);
        Ok((flags? & IS_BUCKET != 0, (bytes(begin, middle)?, bytes(middle, end)?)))
    };
    elements(page)?.map(pair).collect()
}

const CUT: BoltError = BoltError::Format("a page is cut off");

fn bytes_at<const N: usize>(page: &[u8], at: usize) -> Result<[u8; N], BoltError> {
    let end = at.checked_add(N).ok_or(CUT)?;
    page.get(at..end).and_then(|bytes| bytes.try_into().ok()).ok_or(CUT)
}

fn u16_at(page: &[u8], at: usize) -> Result<u16, BoltError> {
    bytes_at(page, at).map(u16::from_le_bytes)
}

fn u32_at(page: &[u8], at: usize) -> Result<u32, BoltError> {
    bytes_at(page, at).map(u32::from_le_bytes)
}

fn u64_at(page: &[u8], at: usize) -> Result<u64, BoltError> {
    bytes_at(page, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use proptest::prelude::*;

    use super::{BoltError, Pair, bucket};

    /// The used pages of a member's database: etcd 3.5.16, after two learners were promoted.
    const DATABASE: &[u8] = include_bytes!("fixtures/promoted-learners.db");

    fn read(database: &[u8], name: &str) -> Result<Vec<Pair>, BoltError> {
        let mut read = |offset: u64, length: u64| {
            let (from, to) = (usize::try_from(offset).ok(), usize::try_from(offset.saturating_add(length)).ok());
            let bytes = from.zip(to).and_then(|(from, to)| database.get(from..to));
            bytes.map(<[u8]>::to_vec).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        bucket(&mut read, name.as_bytes())
    }

    #[test]
    fn the_members_bucket_of_a_real_database_is_read() {
        let members = read(DATABASE, "members").unwrap();
        let ids: Vec<_> = members.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
        assert_eq!(ids, ["2b63308df9914731", "d2d63653440710cb", "f0090282a76f82aa"]);
        assert!(members[0].1.starts_with(b"{\"id\":3126395952660825905,"));
        assert_eq!(read(DATABASE, "key").unwrap().len(), 1);
        assert!(read(DATABASE, "absent").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_database_is_refused() {
        for bytes in [&b""[..], &[0; 4096], &DATABASE[..100], &DATABASE[..8192]] {
            assert!(read(bytes, "members").is_err());
        }
    }

    proptest! {
        #[test]
        fn a_damaged_database_is_never_a_panic(changes in prop::collection::vec((0..DATABASE.len(), any::<u8>()), 1..40)) {
            let mut database = DATABASE.to_vec();
            for (at, byte) in changes {
                database[at] = byte;
            }
            drop(read(&database, "members"));
        }
    }
}
