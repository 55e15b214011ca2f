//! Validity of locks from the view of the run that holds them, and the number of voters that it must have locked. Pure.
//!
//! The locks of all voters form a single lock, whose token on each voter is that voter's counter. A run holds it while
//! a majority of the voters was renewed recently, which is never true for two runs at once. The run's knowledge is
//! older than the nodes', so it stops well before a node lets another run take over.

use std::{collections::BTreeSet, time::Duration};

use machinist_model::{NodeName, quorum::quorum};

use super::state::LASTS;

/// Interval of renewals.
pub const EVERY: Duration = Duration::from_secs(LASTS / 4);

/// A node refuses operations under a lock with less remaining time than this, in seconds. Longer than [`EVERY`], see
/// [`lasts`].
pub const MARGIN: u64 = 30;

/// Time for which the run relies on a renewal: two renewals may fail in a row, and a request has ten seconds to reach
/// the node.
pub const VALID: Duration = Duration::from_secs(LASTS - MARGIN - 10);

/// Voters of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// The voters in machines.nix or the record that are reachable by name; every one that responds is locked.
    pub all: BTreeSet<NodeName>,
    /// The recorded voters of the running cluster; a majority must be locked. Empty before the first quorum, when none
    /// can be lost.
    pub counted: BTreeSet<NodeName>,
}

impl Electorate {
    /// Returns the reason why the run has too few locks to take a voter down, or `None`.
    #[must_use]
    pub fn objection(&self, locked: &BTreeSet<NodeName>) -> Option<String> {
        let voters = self.counted.len();
        let have = self.counted.intersection(locked).count();
        let missing: Vec<&str> = self.counted.difference(locked).map(NodeName::as_str).collect();
        (have < quorum(voters) && voters > 0).then(|| {
            format!(
                "only {have} of {voters} voters can be locked, a majority is {} (not locked: {})",
                quorum(voters),
                missing.join(", ")
            )
        })
    }
}

/// Returns the time since when a group of locks was held as a whole, that is, since when at least `needed` of them were
/// renewed.
#[must_use]
pub fn held_since(renewed: impl IntoIterator<Item = Duration>, needed: usize) -> Option<Duration> {
    let mut times: Vec<Duration> = renewed.into_iter().collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times.get(needed.checked_sub(1)?).copied()
}

/// Returns true if an operation may begin under locks that were held at `since`.
#[must_use]
pub fn is_valid(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) < VALID
}

/// Returns the lifetime for which a lock is renewed, in seconds. While the group is not renewed as a whole, no single
/// lock outlives it by more than [`EVERY`]: otherwise a node that only this run can reach would obey it after another
/// run has locked the majority.
#[must_use]
pub fn lasts(group: Duration, now: Duration) -> u64 {
    let late = now.saturating_sub(group).saturating_sub(EVERY + Duration::from_secs(1));
    LASTS.saturating_sub(late.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::BTreeSet, time::Duration};

    use machinist_model::NodeName;

    use super::{EVERY, Electorate, MARGIN, VALID, held_since, is_valid, lasts};
    use crate::lock::state::LASTS;

    fn names(text: &str) -> BTreeSet<NodeName> {
        text.split_whitespace().map(|name| NodeName::parse(name).unwrap()).collect()
    }

    fn seconds(text: &[u64]) -> Vec<Duration> {
        text.iter().map(|second| Duration::from_secs(*second)).collect()
    }

    #[test]
    fn a_majority_of_the_voters_must_be_locked() {
        let electorate = Electorate { all: names("a b c d"), counted: names("a b c") };
        let check = |locked: &str, expect: Option<&str>| {
            assert_eq!(electorate.objection(&names(locked)).as_deref(), expect, "{locked}");
        };
        check("a b c", None);
        check("a c", None);
        check("a d", Some("only 1 of 3 voters can be locked, a majority is 2 (not locked: b, c)"));
        check("", Some("only 0 of 3 voters can be locked, a majority is 2 (not locked: a, b, c)"));
    }

    #[test]
    fn two_runs_never_lock_a_majority_each() {
        let voters = ["a", "b", "c", "d", "e"];
        for size in 1..=voters.len() {
            let counted = names(&voters[..size].join(" "));
            let electorate = Electorate { all: counted.clone(), counted: counted.clone() };
            for mask in 0..(1_u32 << size) {
                let (one, other): (BTreeSet<_>, BTreeSet<_>) =
                    counted.iter().cloned().enumerate().map(|(at, name)| (mask >> at & 1, name)).fold(
                        (BTreeSet::new(), BTreeSet::new()),
                        |(mut one, mut other), (bit, name)| {
                            if bit == 1 { &mut one } else { &mut other }.insert(name);
                            (one, other)
                        },
                    );
                assert!(electorate.objection(&one).is_some() || electorate.objection(&other).is_some(), "{one:?}");
            }
        }
    }

    #[test]
    fn a_cluster_that_is_being_founded_has_no_majority_to_lose() {
        let electorate = Electorate { all: names("a b c"), counted: BTreeSet::new() };
        assert_eq!(electorate.objection(&names("a")), None);
    }

    #[test]
    fn a_group_is_as_old_as_the_last_renewal_that_a_majority_has() {
        let check = |renewed: &[u64], needed, expect: Option<u64>| {
            assert_eq!(held_since(seconds(renewed), needed), expect.map(Duration::from_secs));
        };
        check(&[10, 30, 20], 2, Some(20));
        check(&[10, 30, 20], 3, Some(10));
        check(&[10], 2, None);
        check(&[10], 0, None);
    }

    #[test]
    fn a_run_stops_relying_on_its_locks_before_a_node_gives_them_to_another() {
        let held = Duration::from_secs(1000);
        assert!(is_valid(held, held + VALID - Duration::from_secs(1)));
        assert!(!is_valid(held, held + VALID), "suspended for too long");
        assert!(VALID.as_secs() + MARGIN < LASTS && VALID > EVERY * 2, "two renewals may fail");
    }

    #[test]
    fn a_lock_that_alone_is_renewed_ends_with_the_others() {
        let group = Duration::from_secs(1000);
        assert_eq!(lasts(group, group + EVERY), LASTS);
        for late in [30, 44, 66, 88, 200] {
            let now = group + Duration::from_secs(late);
            let obeys_until = now + Duration::from_secs(lasts(group, now).saturating_sub(MARGIN));
            let others_end = group + Duration::from_secs(LASTS);
            assert!(obeys_until <= others_end || late > LASTS, "renewed {late} s after the others");
        }
        assert_eq!(lasts(group, group + Duration::from_secs(500)), 0);
    }
}
