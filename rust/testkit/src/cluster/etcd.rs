//! etcd of a fake cluster, as etcdctl on a member reports it.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_model::NodeName;

use super::host::{FakeHost, Member};

/// The members of the cluster and the leader.
#[derive(Clone, Debug, Default)]
pub struct Etcd {
    /// The address of each member.
    pub addresses: BTreeMap<NodeName, IpAddr>,
    /// The leader, as long as it runs.
    pub leader: Option<NodeName>,
}

impl Etcd {
    /// Elects a leader if there is a quorum and the previous one is unavailable.
    pub fn elect(&mut self, hosts: &BTreeMap<NodeName, FakeHost>) {
        let fit: Vec<&NodeName> = self.addresses.keys().filter(|name| answers(hosts, name)).collect();
        let has_quorum = fit.len() > self.addresses.len() / 2;
        if !has_quorum {
            self.leader = None;
        } else if !self.leader.as_ref().is_some_and(|leader| fit.contains(&leader)) {
            self.leader = fit.first().map(|name| (*name).clone());
        }
    }

    /// Returns the two lines of `member list` and `endpoint status --cluster`.
    pub fn report(&self, hosts: &BTreeMap<NodeName, FakeHost>) -> String {
        let leader =
            self.leader.as_ref().and_then(|leader| hosts.get(leader)?.member.as_ref()).map_or(0, |member| member.id);
        let mut listed = Vec::new();
        let mut statuses = Vec::new();
        for (name, member) in members(hosts) {
            let Some(ip) = self.addresses.get(name) else { continue };
            let id = member.id;
            listed.push(format!(
                r#"{{"ID":{id},"name":"{name}","peerURLs":["https://{ip}:2380"],"clientURLs":["https://{ip}:2379"]}}"#
            ));
            if answers(hosts, name) {
                statuses.push(format!(
                    r#"{{"Endpoint":"https://{ip}:2379","Status":{{"header":{{"member_id":{id}}},"version":"3.6.0","leader":{leader},"raftTerm":3,"raftAppliedIndex":100}}}}"#
                ));
            }
        }
        format!("{{\"members\":[{}]}}\n\n[{}]\n", listed.join(","), statuses.join(","))
    }
}

/// Returns the hosts that are etcd members.
fn members(hosts: &BTreeMap<NodeName, FakeHost>) -> impl Iterator<Item = (&NodeName, &Member)> {
    hosts.iter().filter_map(|(name, host)| Some((name, host.member.as_ref()?)))
}

/// Returns true if a member responds, on a machine that is up.
fn answers(hosts: &BTreeMap<NodeName, FakeHost>, name: &NodeName) -> bool {
    hosts.get(name).is_some_and(|host| host.is_up && host.member.as_ref().is_some_and(Member::answers))
}
