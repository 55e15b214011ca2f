//! Members as one member's own data has them. Pure.
//!
//! Until 3.5, etcd serves its members from another store (v2) than the one that 3.6 starts from (v3, the bucket `members`
//! of the database), so `member list` cannot show whether 3.6 would start. Reproduced with real members: after
//! `node replace` of two members on 3.5.16, 3.6.16 stops with "too many learner members in cluster". After one rolling
//! upgrade to 3.5.35 too, if the last member to restart is the first one to get 3.6: a member's promotion is corrected on
//! the members that run 3.5.20 or newer when it starts, and not on those that follow.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    bolt::{BoltError, Read, bucket},
    copy::with_copy,
    etcd::{Health, hexadecimal},
};

/// Takes a snapshot of a member and serves parts of it: prints its size, then reads lines `OFFSET LENGTH` and prints that
/// many bytes of each and a newline, until its input ends. The snapshot is in a directory that only root can read, and is removed at the
/// end. Input variables: endpoint (the member's URL).
pub const SERVE: &str = with_copy!(
    "\
machinist-etcdctl --command-timeout=600s --dial-timeout=3s --endpoints=\"$endpoint\" snapshot save \"$directory/etcd.db\" >&2 || exit 1
stat -c %s \"$directory/etcd.db\"
while read -r offset length; do
  tail -c \"+$((offset + 1))\" \"$directory/etcd.db\" | head -c \"$length\"
  echo
done
"
);

/// Writes a member to the data of all members again, with its peer URL unchanged. From 3.5.20 on this corrects a forgotten
/// promotion. Must not be used for a learner. Input variables: endpoint (a member's URL), id (hexadecimal), url.
pub const WRITE_AGAIN: &str = "\
export PATH=/run/current-system/sw/bin:$PATH
machinist-etcdctl --command-timeout=15s --dial-timeout=3s --endpoints=\"$endpoint\" member update \"$id\" --peer-urls=\"$url\"
";

/// Maximum length of a name that is kept, in characters: those of nodes are shorter.
const LONGEST_NAME: usize = 128;

/// Reason why a member's data cannot be read.
#[derive(Debug, Error)]
pub enum StoredError {
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] BoltError),
    /// A record is not of etcd's format.
    #[error("a member's record in the database is invalid")]
    Record(#[source] serde_json::Error),
}

/// A member's record in the data of a member.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// Its identifier.
    pub id: u64,
    /// Its name; empty if its data never learnt it.
    #[serde(default)]
    pub name: String,
    /// Its peer URLs.
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// True if it is a learner there.
    #[serde(default, rename = "isLearner")]
    pub learner: bool,
}

/// A difference between a member's data and the members that etcd reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The member that the record is about.
    pub id: u64,
    /// Its name, or its peer URLs if it has none.
    pub name: String,
    /// The kind.
    pub kind: Kind,
}

/// Kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A voter that is a learner in the data.
    Demoted,
    /// A member that was removed and is still in the data.
    Removed,
    /// A member that is missing in the data.
    Missing,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Demoted => "votes, and is a learner there",
            Kind::Removed => "was removed, and is a member there",
            Kind::Missing => "is missing there",
        };
        write!(f, "{} ({}) {what}", self.name, hexadecimal(self.id))
    }
}

/// Reads the members from a member's database.
///
/// # Errors
/// The database cannot be read, or is damaged.
pub fn members(read: &mut Read<'_>) -> Result<BTreeMap<u64, Stored>, StoredError> {
    let record = |(_, value): (Vec<u8>, Vec<u8>)| {
        let stored: Stored = serde_json::from_slice(&value).map_err(StoredError::Record)?;
        let name = stored.name.chars().take(LONGEST_NAME).collect();
        Ok((stored.id, Stored { name, ..stored }))
    };
    bucket(read, b"members")?.into_iter().map(record).collect()
}

/// Compares a member's data with the members that etcd reports.
#[must_use]
pub fn differences(stored: &BTreeMap<u64, Stored>, health: &Health) -> Vec<Difference> {
    let known =
        health.members.iter().filter_map(|(name, member)| Some((member.id?, (name.to_string(), member.learner))));
    let strangers = health.unmanaged.iter().map(|stranger| (stranger.id, (stranger.to_string(), stranger.learner)));
    let listed: BTreeMap<u64, (String, bool)> = known.chain(strangers).collect();
    let of_listed = listed.iter().filter_map(|(id, (name, learner))| {
        let kind = match stored.get(id) {
            None => Kind::Missing,
            Some(record) if record.learner && !learner => Kind::Demoted,
            Some(_) => return None,
        };
        Some(Difference { id: *id, name: name.clone(), kind })
    });
    let gone = stored.values().filter(|record| !listed.contains_key(&record.id)).map(|record| {
        let name = if record.name.is_empty() { record.peer_urls.join(", ") } else { record.name.clone() };
        Difference { id: record.id, name, kind: Kind::Removed }
    });
    of_listed.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::{BTreeMap, BTreeSet},
        io,
    };

    use expect_test::expect;
    use machinist_model::NodeName;

    use super::{Stored, differences, members};
    use crate::etcd::{Health, Member, Stranger};

    const DATABASE: &[u8] = include_bytes!("fixtures/promoted-learners.db");

    fn stored() -> BTreeMap<u64, Stored> {
        let mut read = |offset: u64, length: u64| {
            let from = usize::try_from(offset).unwrap();
            let bytes = DATABASE.get(from..from + usize::try_from(length).unwrap());
            bytes.map(<[u8]>::to_vec).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        members(&mut read).unwrap()
    }

    fn health(ids: &[(&str, u64)]) -> Health {
        let member =
            |(name, id): &(&str, u64)| (NodeName::parse(name).unwrap(), Member { id: Some(*id), ..Member::default() });
        let members = ids.iter().map(member).collect();
        Health { members, unmanaged: Vec::new(), leader: None, over_quota: BTreeSet::new() }
    }

    #[test]
    fn promotions_that_3_5_16_forgot_are_found_in_its_data() {
        let ids: Vec<u64> = stored().into_keys().collect();
        let health = health(&[("a", ids[0]), ("b", ids[1]), ("c", ids[2])]);
        let found: Vec<String> = differences(&stored(), &health).iter().map(ToString::to_string).collect();
        expect![[r#"
            b (d2d63653440710cb) votes, and is a learner there
            c (f0090282a76f82aa) votes, and is a learner there"#]]
        .assert_eq(&found.join("\n"));
    }

    #[test]
    fn members_that_are_too_many_or_too_few_are_found() {
        let ids: Vec<u64> = stored().into_keys().collect();
        let mut health = health(&[("a", ids[0]), ("d", 7)]);
        let stranger = |learner| Stranger {
            name: String::new(),
            id: ids[1],
            peer_urls: vec!["https://10.0.0.9:2380".to_owned()],
            learner,
            healthy: true,
        };
        health.unmanaged.push(stranger(true));
        let found: Vec<String> = differences(&stored(), &health).iter().map(ToString::to_string).collect();
        expect![[r#"
            d (7) is missing there
            http://127.0.0.1:3080 (f0090282a76f82aa) was removed, and is a member there"#]]
        .assert_eq(&found.join("\n"));
    }
}
