//! Quorum arithmetic of etcd.

/// Returns how many of `voters` members must agree: ⌊n/2⌋+1 (etcd FAQ, "What is failure tolerance?").
#[must_use]
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Returns how many of `voters` members may be away while the rest still holds a quorum.
#[must_use]
pub const fn failure_tolerance(voters: usize) -> usize {
    voters.saturating_sub(quorum(voters))
}

/// Returns whether one more healthy voter may be taken away without losing the quorum.
///
/// `healthy` counts the voters that are healthy now, the one to be taken away included. A single voter can never be
/// taken away under this rule: the caller decides whether a short outage is accepted there.
#[must_use]
pub const fn may_take_one_away(voters: usize, healthy: usize) -> bool {
    healthy > quorum(voters)
}

#[cfg(test)]
mod tests {
    use super::{failure_tolerance, may_take_one_away, quorum};

    #[test]
    fn two_of_three_members_keep_quorum() {
        assert_eq!((quorum(3), failure_tolerance(3)), (2, 1));
        assert!(may_take_one_away(3, 3));
        assert!(!may_take_one_away(3, 2));
    }

    #[test]
    fn a_fourth_member_tolerates_no_more_than_three_do() {
        assert_eq!(failure_tolerance(4), failure_tolerance(3));
    }

    #[test]
    fn a_lone_member_cannot_be_taken_away_and_nothing_underflows() {
        assert!(!may_take_one_away(1, 1));
        assert!(!may_take_one_away(0, 0));
        assert_eq!(failure_tolerance(0), 0);
    }
}
