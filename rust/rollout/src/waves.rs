//! Order in which hosts change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{NodeName, quorum::quorum};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Nodes that change at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The reason to change these together.
    pub kind: WaveKind,
    /// The nodes, sorted by name.
    pub nodes: Vec<NodeName>,
}

/// Reasons to change nodes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveKind {
    /// The members of a new etcd cluster: one alone would wait for a quorum forever. With k3s, its bootstrap server.
    Bootstrap,
    /// One member of a running etcd cluster.
    Member,
    /// A few nodes without a vote that precede the others of their kind.
    Canary,
    /// One control plane without a vote.
    ControlPlane,
    /// Nodes without a vote.
    Others,
    /// The Router that leads to the API's virtual address: after all nodes that announce it.
    Router,
}

impl WaveKind {
    /// Returns the reason, for display after the nodes' names; empty if there is nothing to add.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Bootstrap => " (a new etcd cluster)",
            Self::Member => " (member of etcd)",
            Self::ControlPlane => " (control plane)",
            Self::Canary => " (canary)",
            Self::Others => "",
            Self::Router => " (Router)",
        }
    }
}

/// Maximum number of nodes without a vote that may be unavailable at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A number of nodes.
    Nodes(usize),
    /// A percentage of the changing nodes, rounded down but at least one.
    Percent(usize),
}

impl Limit {
    /// Parses `3` or `25%`.
    ///
    /// # Errors
    /// The text is neither, or zero, or above 100%.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        let wrong = || format!("`{text}` is neither a number of nodes such as 2 nor a part such as 25%");
        match digits.parse::<usize>().map_err(|_| wrong())? {
            0 => Err("0 would never change anything".to_owned()),
            part @ 101.. if percent => Err(format!("{part}% is more than all")),
            part if percent => Ok(Self::Percent(part)),
            count => Ok(Self::Nodes(count)),
        }
    }

    fn of(self, all: usize) -> usize {
        match self {
            Self::Nodes(count) => count,
            Self::Percent(part) => (all.saturating_mul(part) / 100).max(1),
        }
    }
}

/// Policy for rebooting nodes after they have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reboots {
    /// None. Required reboots are only reported, and systems that only a boot can bring are refused.
    #[default]
    Never,
    /// Nodes whose booted kernel, initrd or kernel parameters differ from their system's, and those whose system only a
    /// boot can bring.
    Auto,
    /// All targets.
    Always,
}

impl Reboots {
    /// Parses `never`, `auto` or `always`.
    ///
    /// # Errors
    /// It is a different word.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            _ => Err(format!("`{text}` is none of never, auto, always")),
        }
    }

    /// Returns the word that [`Self::parse`] accepts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Auto => "auto",
            Self::Always => "always",
        }
    }

    /// Returns true if a node is rebooted, given that its reboot is due or not.
    #[must_use]
    pub const fn wants(self, is_due: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Auto => is_due,
            Self::Always => true,
        }
    }
}

/// Distribution of nodes without a vote over waves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Maximum number that may be unavailable at the same time; a whole zone if not set.
    pub max_unavailable: Option<Limit>,
    /// Number of canaries: they change in a wave before all others.
    pub canary: usize,
    /// True if a wave may include nodes of several zones.
    pub across_zones: bool,
    /// Nodes that are rebooted: they take longer, so fewer of them change together. Missing in plans of versions
    /// without reboots.
    #[serde(default)]
    pub reboots: Reboots,
}

/// Facts that determine the order.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// The nodes that change.
    pub changing: BTreeSet<NodeName>,
    /// All voting members of etcd that the configuration names.
    pub members: BTreeSet<NodeName>,
    /// The members that already run the right system.
    pub unchanged_members: BTreeSet<NodeName>,
    /// True if the members have formed a quorum before, as recorded.
    pub bootstrapped: bool,
    /// The leader, if known.
    pub leader: Option<NodeName>,
    /// Unhealthy members: they go first, since a quorum may depend on them.
    pub broken: BTreeSet<NodeName>,
    /// The zone of each node that has one.
    pub zones: BTreeMap<NodeName, String>,
    /// The nodes that take traffic from outside: they go last.
    pub ingress: BTreeSet<NodeName>,
    /// The nodes with API servers. Those without a vote go one at a time, before the others.
    pub control_planes: BTreeSet<NodeName>,
    /// The Routers that lead to the virtual address: they go last of all, one at a time.
    pub routers: BTreeSet<NodeName>,
    /// Changing nodes that hold the API's virtual address now. It moves with each change of its holder, so a sole
    /// holder goes last.
    pub virtual_address: BTreeSet<NodeName>,
    /// The nodes that are rebooted after they have changed.
    pub rebooting: BTreeSet<NodeName>,
    /// Distribution of nodes without a vote over waves.
    pub spread: Spread,
    /// The bootstrap server of a k3s cluster that does not exist yet: all others join it, one at a time.
    pub founder: Option<NodeName>,
    /// k3s servers that the cluster does not have yet, or that have lost their data. They come after its other members.
    pub joining: BTreeSet<NodeName>,
}

/// Reason why a safe order does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WaveError {
    /// The first deploy includes too few members.
    #[error("a new etcd cluster of {members} needs {quorum} members at once, only {named} of them are to be deployed")]
    TooFewToBootstrap {
        /// Number of members in the configuration.
        members: usize,
        /// Number that a quorum needs.
        quorum: usize,
        /// Number that would come up.
        named: usize,
    },
    /// The first deploy of k3s does not include the bootstrap server, which the others would join.
    #[error("{founder} founds the cluster, and is not to be deployed: the other servers have nothing to join")]
    WithoutFounder {
        /// The bootstrap server.
        founder: NodeName,
    },
}

/// Returns the waves: a new cluster's members together, those of k3s one after another; a running cluster's members one
/// at a time with the leader last; control planes without a vote one at a time; then all other nodes, the canaries
/// first, zone by zone, those with traffic from outside last; at the very end a Router.
///
/// # Errors
/// The cluster is new, and the targets cannot form a quorum.
pub fn waves(situation: &Situation) -> Result<Vec<Wave>, WaveError> {
    let Situation { changing, members, .. } = situation;
    let mut voters: Vec<NodeName> = changing.intersection(members).cloned().collect();
    let others = changing.difference(members).cloned();
    let (mut control_planes, others): (Vec<NodeName>, Vec<NodeName>) =
        others.partition(|name| situation.control_planes.contains(name));
    control_planes.sort_by_key(|name| (situation.virtual_address.contains(name), name.clone()));
    let mut waves = Vec::new();
    if situation.bootstrapped {
        voters.sort_by_key(|name| {
            let is_leader = situation.leader.as_ref() == Some(name);
            let outer = situation.virtual_address.contains(name) || situation.ingress.contains(name);
            (is_leader, !situation.broken.contains(name), outer, name.clone())
        });
        waves.extend(voters.into_iter().map(|name| Wave { kind: WaveKind::Member, nodes: vec![name] }));
    } else if !voters.is_empty() {
        waves.extend(founding(situation, voters)?);
    }
    let (routers, others): (Vec<NodeName>, Vec<NodeName>) =
        others.into_iter().partition(|name| situation.routers.contains(name));
    waves.extend(control_planes.into_iter().map(|name| Wave { kind: WaveKind::ControlPlane, nodes: vec![name] }));
    waves.extend(spread(situation, others));
    waves.extend(routers.into_iter().map(|name| wave(WaveKind::Router, &[name])));
    Ok(waves)
}

/// Members that form the cluster start together, since one alone would wait for a quorum; the others join one at a
/// time.
fn founding(situation: &Situation, voters: Vec<NodeName>) -> Result<Vec<Wave>, WaveError> {
    let Situation { members, founder, joining, .. } = situation;
    if let Some(founder) = founder.as_ref().filter(|founder| !voters.contains(founder)) {
        return Err(WaveError::WithoutFounder { founder: founder.clone() });
    }
    let joins = |name: &NodeName| founder.as_ref().map_or_else(|| joining.contains(name), |founder| founder != name);
    let (later, together): (Vec<NodeName>, Vec<NodeName>) = voters.into_iter().partition(joins);
    let expected = if founder.is_some() { 1 } else { members.difference(joining).count() };
    let up = together.len() + situation.unchanged_members.len();
    if up < quorum(expected) {
        return Err(WaveError::TooFewToBootstrap { members: expected, quorum: quorum(expected), named: up });
    }
    let first = (!together.is_empty()).then_some(Wave { kind: WaveKind::Bootstrap, nodes: together });
    Ok(first.into_iter().chain(later.into_iter().map(|name| wave(WaveKind::Member, &[name]))).collect())
}

fn spread(situation: &Situation, others: Vec<NodeName>) -> Vec<Wave> {
    let Situation { ingress, spread, .. } = situation;
    let allowed = spread.max_unavailable.map(|limit| limit.of(others.len()));
    let (outer, mut inner): (Vec<NodeName>, Vec<NodeName>) =
        others.into_iter().partition(|name| ingress.contains(name));
    let canary: Vec<NodeName> = inner.drain(..spread.canary.min(inner.len())).collect();
    let mut waves = chunks(situation, WaveKind::Canary, canary, allowed, true);
    for nodes in [inner, outer] {
        waves.extend(chunks(situation, WaveKind::Others, nodes, allowed, spread.across_zones));
    }
    waves
}

/// Nodes that reboot never share a wave with those of another zone, and go one at a time unless more may be
/// unavailable: a kernel that does not boot takes down no more than those.
fn chunks(
    situation: &Situation,
    kind: WaveKind,
    nodes: Vec<NodeName>,
    allowed: Option<usize>,
    across_zones: bool,
) -> Vec<Wave> {
    let mut groups: BTreeMap<(Option<&String>, bool), Vec<NodeName>> = BTreeMap::new();
    for node in nodes {
        let reboots = situation.rebooting.contains(&node);
        let zone = if across_zones && !reboots { None } else { situation.zones.get(&node) };
        groups.entry((zone, reboots)).or_default().push(node);
    }
    let chunks = |((_, reboots), group): (&(Option<&String>, bool), &Vec<NodeName>)| {
        let limit = allowed.unwrap_or(if *reboots { 1 } else { usize::MAX }).min(group.len());
        group.chunks(limit).map(|chunk| wave(kind, chunk)).collect::<Vec<_>>()
    };
    groups.iter().flat_map(chunks).collect()
}

fn wave(kind: WaveKind, nodes: &[NodeName]) -> Wave {
    Wave { kind, nodes: nodes.to_vec() }
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

    use super::{Limit, Reboots, Situation, Spread, Wave, WaveError, WaveKind, positions, wave, waves};

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
    fn a_node_has_the_position_of_its_wave() {
        let names = |text| names(text).into_iter().collect::<Vec<_>>();
        let found = positions(&[wave(WaveKind::Member, &names("b")), wave(WaveKind::Others, &names("a c"))]);
        let found: Vec<String> = found.iter().map(|(node, position)| format!("{node}{position}")).collect();
        assert_eq!(found, ["a2", "b1", "c2"]);
    }

    #[test]
    fn the_word_of_a_choice_of_reboots_is_the_one_that_chooses_it() {
        for word in ["never", "auto", "always"] {
            assert_eq!(Reboots::parse(word).unwrap().as_str(), word);
        }
    }

    #[test]
    fn a_wave_says_why_its_nodes_change_together() {
        let words = [WaveKind::Bootstrap, WaveKind::Member, WaveKind::Others, WaveKind::Router].map(WaveKind::words);
        assert_eq!(words, [" (a new etcd cluster)", " (member of etcd)", "", " (Router)"]);
    }

    fn k3s(changing: &str, founder: Option<&str>, joining: &str) -> Situation {
        Situation {
            founder: founder.map(|name| NodeName::parse(name).unwrap()),
            joining: names(joining),
            ..situation(changing, false)
        }
    }

    #[test]
    fn servers_of_k3s_join_one_at_a_time_the_one_that_founds_the_cluster() {
        let found = waves(&k3s("a b c w1", Some("b"), "a b c")).unwrap();
        let shown: Vec<(WaveKind, Vec<&str>)> =
            found.iter().map(|wave| (wave.kind, wave.nodes.iter().map(NodeName::as_str).collect())).collect();
        let expected = [
            (WaveKind::Bootstrap, vec!["b"]),
            (WaveKind::Member, vec!["a"]),
            (WaveKind::Member, vec!["c"]),
            (WaveKind::Others, vec!["w1"]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_the_server_that_founds_the_cluster_there_is_nothing_to_join() {
        let error = waves(&k3s("a c", Some("b"), "a b c")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "b founds the cluster, and is not to be deployed: the other servers have nothing to join"
        );
    }

    #[test]
    fn after_a_blackout_the_servers_with_data_come_together_and_an_empty_one_joins_them() {
        let found = waves(&k3s("a b c", None, "c")).unwrap();
        let shown: Vec<usize> = found.iter().map(|wave| wave.nodes.len()).collect();
        assert_eq!((found[0].kind, shown), (WaveKind::Bootstrap, vec![2, 1]));
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
    fn control_planes_without_a_vote_go_one_at_a_time_before_workers() {
        let mut situation = situation("a cp1 cp2 w1 w2", true);
        situation.control_planes = names("a cp1 cp2");
        check(&situation, &[&["a"], &["cp1"], &["cp2"], &["w1", "w2"]]);
    }

    #[test]
    fn who_holds_the_virtual_address_goes_last_but_for_the_leader() {
        let mut situation = situation("a b c cp1 cp2", true);
        situation.control_planes = names("a b c cp1 cp2");
        situation.leader = names("b").pop_first();
        situation.virtual_address = names("a cp1");
        check(&situation, &[&["c"], &["a"], &["b"], &["cp2"], &["cp1"]]);
    }

    #[test]
    fn the_router_changes_alone_after_all_who_announce_to_it() {
        let canary = Spread { canary: 1, ..Spread::default() };
        let router = |situation| Situation { routers: names("a0"), spread: canary.clone(), ..situation };
        check(&router(situation("a b a0 w1 w2", true)), &[&["a"], &["b"], &["w1"], &["w2"], &["a0"]]);
        check(&router(situation("a b c a0", false)), &[&["a", "b", "c"], &["a0"]]);
    }

    #[test]
    fn a_member_that_is_down_is_brought_back_before_another_one_changes() {
        let mut situation = situation("a b c", true);
        situation.leader = names("a").pop_first();
        situation.broken = names("c");
        check(&situation, &[&["c"], &["b"], &["a"]]);
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

    /// Six workers in two zones; `i1` takes traffic from outside.
    fn fleet(spread: Spread) -> Situation {
        let zone = |(name, zone): (&str, &str)| (NodeName::parse(name).unwrap(), zone.to_owned());
        let zones = [("w1", "a"), ("w2", "b"), ("w3", "a"), ("w4", "b"), ("w5", "a"), ("i1", "a")].map(zone).into();
        Situation { zones, ingress: names("i1"), spread, ..situation("w1 w2 w3 w4 w5 i1", true) }
    }

    #[test]
    fn workers_go_zone_after_zone_and_ingress_last() {
        check(&fleet(Spread::default()), &[&["w1", "w3", "w5"], &["w2", "w4"], &["i1"]]);
    }

    #[test]
    fn no_more_than_allowed_are_away_at_once() {
        let max = |text: &str| Spread { max_unavailable: Some(Limit::parse(text).unwrap()), ..Spread::default() };
        check(&fleet(max("2")), &[&["w1", "w3"], &["w5"], &["w2", "w4"], &["i1"]]);
        check(&fleet(max("50%")), &[&["w1", "w3", "w5"], &["w2", "w4"], &["i1"]]);
        check(&fleet(max("1%")), &[&["w1"], &["w3"], &["w5"], &["w2"], &["w4"], &["i1"]]);
        let across = Spread { across_zones: true, ..max("3") };
        check(&fleet(across), &[&["w1", "w2", "w3"], &["w4", "w5"], &["i1"]]);
    }

    #[test]
    fn the_canary_goes_first_and_never_is_more_than_there_are() {
        let canary = |canary| Spread { canary, ..Spread::default() };
        check(&fleet(canary(1)), &[&["w1"], &["w3", "w5"], &["w2", "w4"], &["i1"]]);
        check(&fleet(canary(9)), &[&["w1", "w2", "w3", "w4", "w5"], &["i1"]]);
        check(&situation("a b", true), &[&["a"], &["b"]]);
    }

    #[test]
    fn nodes_that_reboot_go_one_at_a_time_and_never_with_those_of_another_zone() {
        let reboot = |names_of: &str, spread| Situation { rebooting: names(names_of), ..fleet(spread) };
        let all = "w1 w2 w3 w4 w5 i1";
        let one_by_one: &[&[&str]] = &[&["w1"], &["w3"], &["w5"], &["w2"], &["w4"], &["i1"]];
        check(&reboot(all, Spread::default()), one_by_one);
        check(
            &reboot(all, Spread { canary: 2, ..Spread::default() }),
            &[&["w1"], &["w2"], &["w3"], &["w5"], &["w4"], &["i1"]],
        );
        let across = Spread { across_zones: true, max_unavailable: Some(Limit::Nodes(2)), ..Spread::default() };
        check(&reboot(all, across.clone()), &[&["w1", "w3"], &["w5"], &["w2", "w4"], &["i1"]]);
        check(&reboot("w3", across), &[&["w1", "w2"], &["w4", "w5"], &["w3"], &["i1"]]);
    }

    #[test]
    fn who_is_rebooted_is_said_in_a_word() {
        let wants = |word: &str| Reboots::parse(word).map(|reboots| (reboots.wants(false), reboots.wants(true)));
        assert_eq!((wants("never"), wants("auto")), (Ok((false, false)), Ok((false, true))));
        assert_eq!((wants("always"), wants("maybe").is_err()), (Ok((true, true)), true));
    }

    #[test]
    fn a_limit_is_a_number_or_a_part_and_neither_nothing_nor_more_than_all() {
        assert_eq!((Limit::parse("3"), Limit::parse("25%")), (Ok(Limit::Nodes(3)), Ok(Limit::Percent(25))));
        assert_eq!((Limit::parse("101"), Limit::parse("100%")), (Ok(Limit::Nodes(101)), Ok(Limit::Percent(100))));
        for wrong in ["0", "0%", "101%", "-1", "x", "", "%"] {
            assert!(Limit::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        /// In every situation, each node changes exactly once, a running cluster never loses two voters at once, and
        /// the leader is the last of them.
        #[test]
        fn no_wave_breaks_quorum(
            changing in proptest::collection::btree_set(0_u8..12, 0..12),
            members in proptest::collection::btree_set(0_u8..12, 1..8),
            leader in 0_u8..12, zones in proptest::collection::vec(0_u8..3, 12), ingress in 0_u8..12,
            max in 0_usize..5, canary in 0_usize..4, across_zones in proptest::bool::ANY,
            rebooting in proptest::collection::btree_set(0_u8..12, 0..12), router in 0_u8..12,
        ) {
            let name = |n: u8| NodeName::parse(&format!("n{n}")).unwrap();
            let all = |set: &BTreeSet<u8>| set.iter().copied().map(name).collect::<BTreeSet<_>>();
            let situation = Situation {
                changing: all(&changing), members: all(&members), bootstrapped: true, leader: Some(name(leader)),
                zones: (0..12).zip(&zones).map(|(n, zone)| (name(n), zone.to_string())).collect(),
                ingress: [name(ingress)].into(),
                spread: Spread {
                    max_unavailable: (max > 0).then_some(Limit::Nodes(max)), canary, across_zones, ..Spread::default()
                },
                rebooting: all(&rebooting), routers: [name(router)].into(),
                ..Situation::default()
            };
            let waves = waves(&situation).unwrap();
            let with_router = |wave: &Wave| wave.nodes.contains(&name(router));
            let is_last = waves.last().is_none_or(|last| with_router(last) && last.nodes.len() == 1);
            proptest::prop_assert!(members.contains(&router) || !waves.iter().any(with_router) || is_last);
            let voters = |wave: &Wave| wave.nodes.iter().filter(|node| situation.members.contains(*node)).count();
            proptest::prop_assert!(waves.iter().all(|wave| voters(wave) <= 1 && (voters(wave) == 0 || wave.nodes.len() == 1)));
            proptest::prop_assert!(waves.iter().all(|wave| max == 0 || wave.nodes.len() <= max));
            let narrow = |wave: &Wave| {
                let reboots = wave.nodes.iter().any(|node| situation.rebooting.contains(node));
                let zones: BTreeSet<_> = wave.nodes.iter().map(|node| situation.zones.get(node)).collect();
                !reboots || (wave.nodes.len() <= max.max(1) && zones.len() == 1)
            };
            proptest::prop_assert!(waves.iter().all(narrow));
            let mut seen: Vec<NodeName> = waves.iter().flat_map(|wave| wave.nodes.clone()).collect();
            let last_voter = seen.iter().rfind(|node| situation.members.contains(*node)).cloned();
            if situation.changing.contains(&name(leader)) && situation.members.contains(&name(leader)) {
                proptest::prop_assert_eq!(last_voter, Some(name(leader)));
            }
            seen.sort();
            proptest::prop_assert_eq!(seen, situation.changing.iter().cloned().collect::<Vec<_>>());
        }
    }
}
