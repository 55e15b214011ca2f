//! Situation from which the waves of a deploy are computed, from the records and the facts of the hosts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_etcd::etcd::Health;
use machinist_model::{NodeName, quorum::quorum};

use super::request::Topology;
use crate::{
    HostFacts,
    target::Layout,
    waves::{Situation, Spread},
};

/// State of the connected hosts and of etcd.
#[derive(Default)]
pub struct Found<'a> {
    /// The facts of each connected host.
    pub hosts: BTreeMap<&'a NodeName, &'a HostFacts>,
    /// The nodes that change.
    pub changing: BTreeSet<NodeName>,
    /// The nodes that are rebooted after their change.
    pub rebooting: BTreeSet<NodeName>,
    /// The health of etcd, if it was queried and responded.
    pub health: Option<Health>,
}

impl Found<'_> {
    /// Returns true if the order depends on the health of etcd: a member of an existing cluster changes.
    pub fn needs_health(&self, topology: &Topology) -> bool {
        let is_member = |node: &NodeName| topology.members.contains_key(node);
        (topology.bootstrapped || self.has_data(topology)) && self.changing.iter().any(is_member)
    }

    fn members<'b>(&'b self, topology: &'b Topology) -> impl Iterator<Item = (&'b NodeName, &'b HostFacts)> {
        topology.members.keys().filter_map(|member| Some((member, *self.hosts.get(member)?)))
    }

    /// Returns true if a member has data of a cluster.
    fn has_data(&self, topology: &Topology) -> bool {
        self.members(topology).any(|(_, facts)| facts.etcd_data)
    }

    /// Returns true if there is a cluster whose quorum must be kept. The record may be lost, or missing because the
    /// first deploy was cut off, so the running members decide: the members of a running quorum must not be restarted
    /// all at once. With too few running members for a quorum, a cold start activates all of them together, since a
    /// single member would wait forever.
    fn is_bootstrapped(&self, topology: &Topology) -> bool {
        let members = topology.members.len();
        let has_quorum = |health: &Health| health.healthy() >= quorum(topology.datastore.voters(members, health));
        let down = self.members(topology).filter(|(_, facts)| !facts.etcd_active).count();
        let is_cold = members - down < quorum(members);
        (topology.bootstrapped && !is_cold) || self.health.as_ref().is_some_and(has_quorum)
    }

    /// Returns the situation for the computation of the waves.
    pub fn situation(self, topology: &Topology, spread: Spread) -> Situation {
        let members: BTreeSet<NodeName> = topology.members.keys().cloned().collect();
        let joins = |(_, facts): &(&NodeName, &HostFacts)| topology.datastore.joins(facts);
        let joining: BTreeSet<NodeName> = self.members(topology).filter(joins).map(|(node, _)| node.clone()).collect();
        let broken = self.health.iter().flat_map(Health::broken).map(|(name, _)| name.clone());
        let broken = broken.chain(joining.iter().cloned()).collect();
        let founds = !self.has_data(topology) && !topology.bootstrapped;
        let founder = topology.datastore.founder().filter(|_| founds).cloned();
        let unchanged = self.hosts.keys().filter(|node| members.contains(**node) && !self.changing.contains(**node));
        let unchanged_members = unchanged.map(|node| (*node).clone()).collect();
        let holds = |node: &&NodeName| self.hosts.get(*node).is_some_and(|facts| facts.virtual_address);
        let virtual_address = self.changing.iter().filter(holds).cloned().collect();
        let bootstrapped = self.is_bootstrapped(topology);
        let Layout { zones, ingress, control_planes, routers } = Layout::of(&topology.traits);
        Situation {
            changing: self.changing,
            members,
            unchanged_members,
            bootstrapped,
            leader: self.health.and_then(|health| health.leader),
            broken,
            zones,
            ingress,
            control_planes,
            routers,
            virtual_address,
            rebooting: self.rebooting,
            spread,
            founder,
            joining,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::{BTreeMap, BTreeSet},
        net::{IpAddr, Ipv4Addr},
    };

    use expect_test::{Expect, expect};
    use machinist_etcd::etcd::{Health, Member};
    use machinist_model::NodeName;

    use super::Found;
    use crate::{
        HostFacts,
        deploy::{Datastore, Topology},
        waves::Spread,
    };

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    /// A cluster with the members a, b and c.
    fn topology(bootstrapped: bool, datastore: Datastore) -> Topology {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let members = ["a", "b", "c"].map(|member| (name(member), address)).into();
        Topology { members, bootstrapped, datastore, ..Topology::default() }
    }

    /// Parses members from words: `a`, or `-a` for an unhealthy one. The first one is the leader.
    fn health(text: &str) -> Health {
        let member = |word: &str| match word.strip_prefix('-') {
            None => (name(word), Member { id: Some(1), ..Member::default() }),
            Some(broken) => (name(broken), Member { id: Some(1), problems: vec!["x".to_owned()], ..Member::default() }),
        };
        let members: BTreeMap<NodeName, Member> = text.split_whitespace().map(member).collect();
        let leader = members.keys().next().cloned();
        Health { members, unmanaged: Vec::new(), leader, over_quota: BTreeSet::new() }
    }

    /// Hosts are words such as `a:data,active,vip`; all of them change, except those in parentheses.
    #[track_caller]
    fn check(topology: &Topology, hosts: &str, asked: Option<&str>, expect: &Expect) {
        let mut facts = BTreeMap::new();
        let mut changing = BTreeSet::new();
        for word in hosts.split_whitespace() {
            let unchanged = word.strip_prefix('(').and_then(|word| word.strip_suffix(')'));
            let (node, is) = unchanged.unwrap_or(word).split_once(':').unwrap();
            let has = |what: &str| is.split(',').any(|word| word == what);
            let found = HostFacts {
                etcd_data: has("data"),
                etcd_active: has("active"),
                virtual_address: has("vip"),
                ..HostFacts::default()
            };
            facts.insert(name(node), found);
            if unchanged.is_none() {
                changing.insert(name(node));
            }
        }
        let found = Found { hosts: facts.iter().collect(), changing, health: None, ..Found::default() };
        let needs_health = found.needs_health(topology);
        let found = Found { health: asked.map(health), ..found };
        let situation = found.situation(topology, Spread::default());
        let words = |set: &BTreeSet<NodeName>| set.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        let leader = situation.leader.as_ref().map_or("-", NodeName::as_str);
        let founder = situation.founder.as_ref().map_or("-", NodeName::as_str);
        expect.assert_eq(&format!(
            "asks etcd: {needs_health}, bootstrapped: {}, leader: {leader}, broken: {}, founder: {founder}, joining: {}, \
             unchanged: {}, address: {}",
            situation.bootstrapped,
            words(&situation.broken),
            words(&situation.joining),
            words(&situation.unchanged_members),
            words(&situation.virtual_address),
        ));
    }

    #[test]
    fn a_new_cluster_is_not_asked_and_has_no_quorum_to_keep() {
        check(
            &topology(false, Datastore::Etcd),
            "a: b: c:",
            None,
            &expect![
                "asks etcd: false, bootstrapped: false, leader: -, broken: , founder: -, joining: , unchanged: , address: "
            ],
        );
    }

    #[test]
    fn a_quorum_that_runs_is_kept_although_its_record_is_lost() {
        check(
            &topology(false, Datastore::Etcd),
            "a:data,active b:data,active c:data",
            Some("a b -c"),
            &expect![
                "asks etcd: true, bootstrapped: true, leader: a, broken: c, founder: -, joining: , unchanged: , address: "
            ],
        );
        check(
            &topology(false, Datastore::Etcd),
            "a:data,active b:data c:data",
            Some("a -b -c"),
            &expect![
                "asks etcd: true, bootstrapped: false, leader: a, broken: b c, founder: -, joining: , unchanged: , address: "
            ],
        );
    }

    #[test]
    fn members_that_are_down_start_together_when_too_few_run_for_a_quorum() {
        check(
            &topology(true, Datastore::Etcd),
            "a:data,active b:data c:data",
            None,
            &expect![
                "asks etcd: true, bootstrapped: false, leader: -, broken: , founder: -, joining: , unchanged: , address: "
            ],
        );
        check(
            &topology(true, Datastore::Etcd),
            "a:data,active b:data,active c:data",
            None,
            &expect![
                "asks etcd: true, bootstrapped: true, leader: -, broken: , founder: -, joining: , unchanged: , address: "
            ],
        );
    }

    #[test]
    fn etcd_is_not_asked_when_no_member_changes() {
        check(
            &topology(true, Datastore::Etcd),
            "(a:data,active,vip) w:vip",
            None,
            &expect![
                "asks etcd: false, bootstrapped: true, leader: -, broken: , founder: -, joining: , unchanged: a, address: w"
            ],
        );
    }

    #[test]
    fn servers_of_k3s_without_data_join_the_one_that_founds_or_those_that_run() {
        let k3s = || Datastore::K3s { founder: name("a") };
        check(
            &topology(false, k3s()),
            "a: b: c:",
            None,
            &expect![
                "asks etcd: false, bootstrapped: false, leader: -, broken: a b c, founder: a, joining: a b c, unchanged: , address: "
            ],
        );
        check(
            &topology(false, k3s()),
            "a:data,active b: c:",
            Some("a"),
            &expect![
                "asks etcd: true, bootstrapped: true, leader: a, broken: b c, founder: -, joining: b c, unchanged: , address: "
            ],
        );
    }
}
