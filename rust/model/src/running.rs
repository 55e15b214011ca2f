//! Bootstrap settings that cannot change while the cluster runs, as recorded in `state/cluster.json`. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{Cluster, NodeName, Orchestrator};

/// Recorded facts of the running cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// The cluster's name: etcd's token, and the label of every object that machinist manages.
    pub name: String,
    /// The orchestrator of the applications, or `None` for a fleet of single machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<Orchestrator>,
    /// The address of each voting member, at which the other members reach it.
    #[serde(default)]
    pub addresses: BTreeMap<NodeName, IpAddr>,
    /// The pods' ranges, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<IpNet>,
    /// The services' ranges, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<IpNet>,
    /// The address of the cluster's DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<IpAddr>,
}

/// Change in machines.nix that a rollout must not apply to the running cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Path in machines.nix, such as `machines.casper.ip`.
    pub path: String,
    /// The recorded value.
    pub running: String,
    /// The value of machines.nix.
    pub wanted: String,
    /// The alternative: an edit or a command.
    pub remedy: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.path, self.running, self.wanted)
    }
}

impl Conflict {
    /// Returns true if the conflict is about the address of a member.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.path.starts_with("machines.")
    }
}

impl Running {
    /// Returns the settings to record for the cluster. `members` are the voters that etcd has at their addresses.
    #[must_use]
    pub fn of(cluster: &Cluster, members: &BTreeSet<NodeName>) -> Self {
        let voters = cluster.voters().filter(|node| members.contains(&node.name));
        Self {
            name: cluster.name.clone(),
            orchestrator: cluster.orchestrator,
            addresses: voters.map(|node| (node.name.clone(), node.ip)).collect(),
            pods: truncated(&cluster.network.pods),
            services: truncated(&cluster.network.services),
            dns: cluster.network.dns,
        }
    }

    /// Returns the changes in machines.nix that the running cluster cannot take, in the order of the fields.
    #[must_use]
    pub fn conflicts(&self, cluster: &Cluster, members: &BTreeSet<NodeName>) -> Vec<Conflict> {
        let name = (self.name != cluster.name).then(|| Conflict {
            path: "cluster.name".to_owned(),
            running: self.name.clone(),
            wanted: cluster.name.clone(),
            remedy: "restore the recorded name: it is etcd's token and the label of the objects in Kubernetes"
                .to_owned(),
        });
        let addresses = cluster.voters().filter(|node| members.contains(&node.name)).filter_map(|node| {
            let running = self.addresses.get(&node.name).filter(|running| **running != node.ip)?;
            Some(Conflict {
                path: format!("machines.{}.ip", node.name),
                running: running.to_string(),
                wanted: node.ip.to_string(),
                remedy: self.way_to_move(&node.name),
            })
        });
        let mut found: Vec<Conflict> =
            name.into_iter().chain(self.other_orchestrator(cluster)).chain(addresses).collect();
        found.extend(self.ranges("network.pods", &self.pods, &truncated(&cluster.network.pods)));
        found.extend(self.ranges("network.services", &self.services, &truncated(&cluster.network.services)));
        found.extend(self.other_dns(cluster.network.dns));
        found
    }

    /// Returns the conflict of a changed orchestrator. A cluster without one may get one; otherwise etcd, certificates
    /// and objects belong to the recorded one.
    fn other_orchestrator(&self, cluster: &Cluster) -> Option<Conflict> {
        let running =
            self.orchestrator.filter(|running| cluster.orchestrator.is_some_and(|wanted| wanted != *running))?;
        Some(Conflict {
            path: "cluster.orchestrator".to_owned(),
            running: word(running).to_owned(),
            wanted: cluster.orchestrator.map_or_else(String::new, |wanted| word(wanted).to_owned()),
            remedy: "restore the recorded orchestrator: another one needs a new cluster".to_owned(),
        })
    }

    /// Returns the conflict of a changed range: pods and services keep the addresses that they were created with.
    /// Kubernetes accepts an additional range of the other family after the first (kubernetes.io, "IPv4/IPv6
    /// dual-stack"); k3s does not (docs.k3s.io, "Basic Network Options").
    fn ranges(&self, path: &str, running: &[IpNet], wanted: &[IpNet]) -> Option<Conflict> {
        let extends = self.orchestrator == Some(Orchestrator::Kubernetes) && wanted.starts_with(running);
        if running.is_empty() || running == wanted || extends {
            return None;
        }
        Some(Conflict {
            path: path.to_owned(),
            running: list(running),
            wanted: list(wanted),
            remedy: "restore the recorded range: running pods keep their addresses, and the API servers' certificates \
                     contain the first service address; another range needs a new cluster"
                .to_owned(),
        })
    }

    fn other_dns(&self, wanted: Option<IpAddr>) -> Option<Conflict> {
        let running = self.dns.filter(|running| wanted != Some(*running))?;
        Some(Conflict {
            path: "network.dns".to_owned(),
            running: running.to_string(),
            wanted: wanted.map_or_else(|| "none".to_owned(), |wanted| wanted.to_string()),
            remedy: "restore the recorded address: running pods resolve names there".to_owned(),
        })
    }

    fn way_to_move(&self, node: &NodeName) -> String {
        if self.orchestrator == Some(Orchestrator::K3s) {
            return format!(
                "restore the recorded address; to move {node}: on another server `k3s kubectl delete node {node}`, remove \
                 {node} from etcd.members in state/cluster.json, then give it the new address and an empty disk, and deploy it"
            );
        }
        format!(
            "restore the recorded address; to move {node}: remove its role \"etcd\", `machinist node remove {node}`, then \
             give it the new address and the role again, `machinist node join {node}`"
        )
    }
}

const fn word(orchestrator: Orchestrator) -> &'static str {
    match orchestrator {
        Orchestrator::Kubernetes => "kubernetes",
        Orchestrator::K3s => "k3s",
        Orchestrator::Mesh => "mesh",
    }
}

/// Returns the networks in canonical form: two notations of one network are equal.
fn truncated(networks: &[IpNet]) -> Vec<IpNet> {
    networks.iter().map(IpNet::trunc).collect()
}

fn list(networks: &[IpNet]) -> String {
    if networks.is_empty() {
        return "none".to_owned();
    }
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::Running;
    use crate::{Cluster, NodeName, fixtures};

    fn members(cluster: &Cluster) -> BTreeSet<NodeName> {
        cluster.voters().map(|node| node.name.clone()).collect()
    }

    /// Checks the conflicts of a running Kubernetes cluster after the change in its machines.nix.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Cluster), expect: &[&str]) {
        let mut cluster = fixtures::ha_kubernetes();
        let members = members(&cluster);
        let running = Running::of(&cluster, &members);
        change(&mut cluster);
        let found: Vec<String> = running.conflicts(&cluster, &members).iter().map(ToString::to_string).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn what_runs_and_what_is_new_beside_it_is_no_conflict() {
        check(|_| {}, &[]);
        check(|cluster| drop(cluster.nodes.remove(&NodeName::parse("w1").unwrap())), &[]);
        check(|cluster| cluster.domain = "example.org".to_owned(), &[]);
        check(|cluster| cluster.network.pods = vec!["10.42.77.1/16".parse().unwrap()], &[]);
    }

    #[test]
    fn a_voter_s_new_address_is_a_conflict_and_a_worker_s_is_none() {
        let set = |cluster: &mut Cluster, name: &str, ip: &str| {
            cluster.nodes.get_mut(&NodeName::parse(name).unwrap()).unwrap().ip = ip.parse().unwrap();
        };
        check(|cluster| set(cluster, "cp2", "10.13.13.9"), &["machines.cp2.ip: 10.13.13.3 -> 10.13.13.9"]);
        check(|cluster| set(cluster, "w1", "10.13.13.9"), &[]);
    }

    #[test]
    fn a_member_that_left_comes_back_at_any_address() {
        let mut cluster = fixtures::three_member_etcd();
        let mut members = members(&cluster);
        let running = Running::of(&cluster, &members);
        let casper = NodeName::parse("casper").unwrap();
        members.remove(&casper);
        cluster.nodes.get_mut(&casper).unwrap().ip = "10.13.13.9".parse().unwrap();
        assert_eq!(running.conflicts(&cluster, &members), []);
    }

    #[test]
    fn new_pod_and_service_ranges_and_dns_are_conflicts() {
        check(
            |cluster| {
                cluster.network.pods = vec!["10.43.0.0/16".parse().unwrap()];
                cluster.network.services = vec!["10.97.0.0/16".parse().unwrap()];
                cluster.network.dns = Some("10.97.0.10".parse().unwrap());
            },
            &[
                "network.pods: 10.42.0.0/16 -> 10.43.0.0/16",
                "network.services: 10.96.0.0/16 -> 10.97.0.0/16",
                "network.dns: 10.96.0.10 -> 10.97.0.10",
            ],
        );
    }

    #[test]
    fn kubernetes_takes_a_second_family_behind_the_first() {
        check(|cluster| cluster.network.services.push("fd00:96::/112".parse().unwrap()), &[]);
        check(
            |cluster| cluster.network.services.insert(0, "fd00:96::/112".parse().unwrap()),
            &["network.services: 10.96.0.0/16 -> fd00:96::/112, 10.96.0.0/16"],
        );
    }

    #[test]
    fn another_name_or_orchestrator_is_a_conflict() {
        check(|cluster| cluster.name = "other".to_owned(), &["cluster.name: magi -> other"]);
        check(
            |cluster| cluster.orchestrator = Some(crate::Orchestrator::Mesh),
            &["cluster.orchestrator: kubernetes -> mesh"],
        );
    }
}
