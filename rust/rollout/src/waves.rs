//! In which order hosts change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{NodeName, quorum::quorum};
use serde::Serialize;
use thiserror::Error;

/// Nodes that change at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wave {
    /// Why these together.
    pub kind: WaveKind,
    /// The nodes, sorted by name.
    pub nodes: Vec<NodeName>,
}

/// Why nodes change together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveKind {
    /// The members of a new etcd cluster: one alone would wait for a quorum for ever.
    Bootstrap,
    /// One member of a running etcd cluster.
    Member,
    /// Nodes without a vote.
    Others,
}

/// What decides the order.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// The nodes that change.
    pub changing: BTreeSet<NodeName>,
    /// All voting members of etcd that the configuration names.
    pub members: BTreeSet<NodeName>,
    /// The members that already run what they should.
    pub unchanged_members: BTreeSet<NodeName>,
    /// Whether the members formed a quorum once, as recorded.
    pub bootstrapped: bool,
    /// The leader, if known.
    pub leader: Option<NodeName>,
}

/// Why there is no safe order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WaveError {
    /// The first deploy names too few members.
    #[error("a new etcd cluster of {members} needs {quorum} members at once, only {named} of them are to be deployed")]
    TooFewToBootstrap {
        /// How many members the configuration names.
        members: usize,
        /// How many a quorum needs.
        quorum: usize,
        /// How many would come up.
        named: usize,
    },
}

/// Returns the waves: a new cluster's members together; a running cluster's members one at a time with the leader
/// last; then everyone else.
///
/// # Errors
/// The cluster is new and the targets cannot form a quorum.
pub fn waves(situation: &Situation) -> Result<Vec<Wave>, WaveError> {
    let Situation { changing, members, .. } = situation;
    let mut voters: Vec<NodeName> = changing.intersection(members).cloned().collect();
    let others: Vec<NodeName> = changing.difference(members).cloned().collect();
    let mut waves = Vec::new();
    if situation.bootstrapped {
        voters.sort_by_key(|name| (situation.leader.as_ref() == Some(name), name.clone()));
        waves.extend(voters.into_iter().map(|name| Wave { kind: WaveKind::Member, nodes: vec![name] }));
    } else if !voters.is_empty() {
        let up = voters.len() + situation.unchanged_members.len();
        if up < quorum(members.len()) {
            let (members, quorum) = (members.len(), quorum(members.len()));
            return Err(WaveError::TooFewToBootstrap { members, quorum, named: up });
        }
        waves.push(Wave { kind: WaveKind::Bootstrap, nodes: voters });
    }
    if !others.is_empty() {
        waves.push(Wave { kind: WaveKind::Others, nodes: others });
    }
    Ok(waves)
}

/// Returns the position of each node's wave, from 1.
#[must_use]
pub fn positions(waves: &[Wave]) -> BTreeMap<NodeName, usize> {
    let numbered = waves.iter().zip(1..);
    numbered.flat_map(|(wave, number)| wave.nodes.iter().map(move |node| (node.clone(), number))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use machinist_model::NodeName;

    use super::{Situation, WaveError, waves};

    fn names(text: &str) -> BTreeSet<NodeName> {
        text.split_whitespace().map(|name| NodeName::parse(name).unwrap()).collect()
    }

    fn situation(changing: &str, bootstrapped: bool) -> Situation {
        Situation { changing: names(changing), members: names("a b c"), bootstrapped, ..Situation::default() }
    }

    #[track_caller]
    fn check(situation: &Situation, expect: &[&[&str]]) {
        let waves = waves(situation).unwrap();
        let shown: Vec<Vec<&str>> =
            waves.iter().map(|wave| wave.nodes.iter().map(NodeName::as_str).collect()).collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn a_new_cluster_starts_together_and_workers_follow() {
        check(&situation("a b c w1 w2", false), &[&["a", "b", "c"], &["w1", "w2"]]);
    }

    #[test]
    fn a_running_cluster_changes_one_member_at_a_time_with_the_leader_last() {
        let mut situation = situation("a b c w1", true);
        situation.leader = names("a").pop_first();
        check(&situation, &[&["b"], &["c"], &["a"], &["w1"]]);
    }

    #[test]
    fn one_member_cannot_begin_a_cluster_of_three() {
        let error = waves(&situation("a", false)).unwrap_err();
        assert_eq!(error, WaveError::TooFewToBootstrap { members: 3, quorum: 2, named: 1 });
        check(&situation("a b", false), &[&["a", "b"]]);
    }

    #[test]
    fn an_interrupted_first_deploy_goes_on_with_the_members_that_are_missing() {
        let mut situation = situation("c", false);
        situation.unchanged_members = names("a b");
        check(&situation, &[&["c"]]);
    }
}
