//! Risk that a change poses to etcd's quorum, with an explanation. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{NodeName, quorum::quorum};
use serde::{Deserialize, Serialize};

use crate::waves::{Wave, WaveKind};

/// The units that run a member: etcd itself, or k3s with embedded etcd.
pub const UNITS: [&str; 2] = ["etcd.service", "k3s.service"];

/// Inputs of the risk assessment.
#[derive(Clone, Debug, Default)]
pub struct QuorumView<'a> {
    /// All voting members of etcd.
    pub members: BTreeSet<NodeName>,
    /// The waves, in order.
    pub waves: &'a [Wave],
    /// Members whose etcd stops, restarts or starts.
    pub restarting: BTreeSet<NodeName>,
    /// Members among the targets that did not respond.
    pub silent: BTreeSet<NodeName>,
    /// Unhealthy members with the reasons. None if etcd could not be queried.
    pub broken: Option<BTreeMap<NodeName, String>>,
    /// Number of voting members that the configuration does not have.
    pub unmanaged: usize,
    /// True if the members have formed a quorum before, as recorded.
    pub bootstrapped: bool,
    /// The leader, if known.
    pub leader: Option<NodeName>,
    /// The bootstrap server of a k3s cluster, which the others join.
    pub founder: Option<NodeName>,
}

/// Risk that a change poses to the quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumRisk {
    /// Level of the risk.
    pub verdict: Verdict,
    /// The explanation, one sentence or two.
    pub words: String,
}

/// Level of the risk to the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No member restarts.
    Untouched,
    /// Enough members stay at any time.
    Held,
    /// The etcd cluster does not exist yet.
    New,
    /// Losing one more member would break it; a deploy refuses that.
    Refused,
    /// The only member restarts, so etcd is unavailable meanwhile.
    Interrupted,
    /// etcd or a member could not be queried.
    Unknown,
}

/// Assesses the risk that the change poses to the quorum. None without etcd.
#[must_use]
pub fn risk(view: &QuorumView<'_>) -> Option<QuorumRisk> {
    if view.members.is_empty() {
        return None;
    }
    let voters = view.members.len() + view.unmanaged;
    let restarting: Vec<&NodeName> = in_order(view.waves).filter(|node| view.restarting.contains(*node)).collect();
    let told = |verdict, words| Some(QuorumRisk { verdict, words });
    if restarting.is_empty() {
        if view.silent.is_empty() {
            return told(Verdict::Untouched, "no etcd member restarts".to_owned());
        }
        let words = format!("not known: {} did not answer; no other etcd member restarts", names(view.silent.iter()));
        return told(Verdict::Unknown, words);
    }
    let who = named(&restarting, view.leader.as_ref());
    if let (false, Some(founder)) = (view.bootstrapped, &view.founder) {
        let words = format!(
            "etcd starts for the first time, inside of k3s: {founder} founds the cluster, one server after another joins it"
        );
        return told(Verdict::New, words);
    }
    if !view.bootstrapped {
        let words =
            format!("etcd starts for the first time, together on {who}; a quorum is {} of {voters}", quorum(voters));
        return told(Verdict::New, words);
    }
    if voters == 1 {
        let words = format!("etcd restarts on {who}, the only member: it is away for that time");
        return told(Verdict::Interrupted, words);
    }
    let in_turn = if restarting.len() > 1 { ", one at a time" } else { "" };
    let Some(broken) = &view.broken else {
        let words = format!(
            "etcd restarts on {who}{in_turn}; etcd could not be asked how it is now. A deploy asks before each member"
        );
        return told(Verdict::Unknown, words);
    };
    let stay =
        |away: &NodeName| view.members.iter().filter(|node| *node != away && !broken.contains_key(*node)).count();
    let fewest = restarting.iter().map(|node| stay(node)).min().unwrap_or(voters);
    if fewest < quorum(voters) {
        let mut ill: Vec<String> = broken.iter().map(|(node, why)| format!("{node} {why}")).collect();
        if view.unmanaged > 0 {
            ill.push(format!("etcd has {} members that machines.nix does not know", view.unmanaged));
        }
        let words = format!(
            "etcd restarts on {who}{in_turn}, but {}: then only {fewest} of {voters} members would stay, and a quorum \
             needs {}. A deploy refuses that",
            ill.join("; "),
            quorum(voters)
        );
        return told(Verdict::Refused, words);
    }
    let unknown = match view.silent.is_empty() {
        true => String::new(),
        false => format!(" (what {} would do is not known)", names(view.silent.iter())),
    };
    let words = format!("etcd restarts on {who}{in_turn}; at each moment {fewest} of {voters} members stay{unknown}");
    told(Verdict::Held, words)
}

fn in_order(waves: &[Wave]) -> impl Iterator<Item = &NodeName> {
    let first = waves.iter().filter(|wave| !matches!(wave.kind, WaveKind::Others | WaveKind::Router));
    first.flat_map(|wave| &wave.nodes)
}

fn names<'a>(nodes: impl Iterator<Item = &'a NodeName>) -> String {
    nodes.map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

fn named(nodes: &[&NodeName], leader: Option<&NodeName>) -> String {
    let name = |node: &&NodeName| {
        if leader == Some(*node) { format!("{node} (the leader)") } else { node.to_string() }
    };
    nodes.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use expect_test::{Expect, expect};
    use machinist_model::NodeName;

    use super::{QuorumView, Verdict, risk};
    use crate::waves::{Wave, WaveKind};

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn set(text: &str) -> BTreeSet<NodeName> {
        text.split_whitespace().map(name).collect()
    }

    fn members(text: &str) -> Vec<Wave> {
        text.split_whitespace().map(|node| Wave { kind: WaveKind::Member, nodes: vec![name(node)] }).collect()
    }

    fn view<'a>(all: &str, waves: &'a [Wave], restarting: &str) -> QuorumView<'a> {
        let broken = Some(BTreeMap::new());
        let (members, restarting) = (set(all), set(restarting));
        QuorumView { members, waves, restarting, broken, bootstrapped: true, ..QuorumView::default() }
    }

    #[track_caller]
    fn check(view: &QuorumView<'_>, verdict: Verdict, expect: &Expect) {
        let found = risk(view).unwrap();
        expect.assert_eq(&found.words);
        assert_eq!(found.verdict, verdict);
    }

    #[test]
    fn a_cluster_without_etcd_risks_nothing() {
        assert_eq!(risk(&view("", &[], "")), None);
    }

    #[test]
    fn a_change_that_leaves_etcd_alone_is_told_as_such() {
        check(&view("a b c", &members("a b c"), ""), Verdict::Untouched, &expect!["no etcd member restarts"]);
    }

    #[test]
    fn members_restart_one_at_a_time_with_the_leader_last() {
        let waves = members("b c a");
        let mut view = view("a b c", &waves, "a b c");
        view.leader = Some(name("a"));
        check(
            &view,
            Verdict::Held,
            &expect!["etcd restarts on b, c, a (the leader), one at a time; at each moment 2 of 3 members stay"],
        );
    }

    #[test]
    fn a_member_that_is_down_makes_the_deploy_refuse_the_others_but_not_itself() {
        let (waves, one) = (members("a b c"), members("c"));
        let mut both = view("a b c", &waves, "a");
        both.broken = Some(BTreeMap::from([(name("c"), "does not answer".to_owned())]));
        check(
            &both,
            Verdict::Refused,
            &expect![
                "etcd restarts on a, but c does not answer: then only 1 of 3 members would stay, and a quorum needs 2. A deploy refuses that"
            ],
        );
        let mut itself = view("a b c", &one, "c");
        itself.broken = both.broken;
        check(&itself, Verdict::Held, &expect!["etcd restarts on c; at each moment 2 of 3 members stay"]);
    }

    #[test]
    fn members_that_the_configuration_does_not_have_count_for_the_quorum() {
        let waves = members("a b c");
        let mut view = view("a b c", &waves, "a");
        view.unmanaged = 1;
        check(
            &view,
            Verdict::Refused,
            &expect![
                "etcd restarts on a, but etcd has 1 members that machines.nix does not know: then only 2 of 4 members would stay, and a quorum needs 3. A deploy refuses that"
            ],
        );
        view.unmanaged = 0;
        view.broken = Some(BTreeMap::from([(name("b"), "is behind".to_owned())]));
        let refused = risk(&view).unwrap();
        assert!(refused.words.contains("but b is behind: then only 1 of 3"), "{}", refused.words);
    }

    #[test]
    fn a_new_cluster_starts_together() {
        let waves = [Wave { kind: WaveKind::Bootstrap, nodes: set("a b c").into_iter().collect() }];
        let mut view = view("a b c", &waves, "a b c");
        view.bootstrapped = false;
        check(&view, Verdict::New, &expect!["etcd starts for the first time, together on a, b, c; a quorum is 2 of 3"]);
    }

    #[test]
    fn the_only_member_is_away_while_it_restarts() {
        check(
            &view("a", &members("a"), "a"),
            Verdict::Interrupted,
            &expect!["etcd restarts on a, the only member: it is away for that time"],
        );
    }

    #[test]
    fn what_could_not_be_asked_is_not_promised() {
        let waves = members("a b");
        let mut asked = view("a b c", &waves, "a b");
        asked.broken = None;
        check(
            &asked,
            Verdict::Unknown,
            &expect![
                "etcd restarts on a, b, one at a time; etcd could not be asked how it is now. A deploy asks before each member"
            ],
        );
        let mut silent = view("a b c", &[], "");
        silent.silent = set("c");
        silent.waves = &waves;
        silent.restarting = set("a");
        check(
            &silent,
            Verdict::Held,
            &expect!["etcd restarts on a; at each moment 2 of 3 members stay (what c would do is not known)"],
        );
        silent.restarting.clear();
        check(&silent, Verdict::Unknown, &expect!["not known: c did not answer; no other etcd member restarts"]);
    }
}
