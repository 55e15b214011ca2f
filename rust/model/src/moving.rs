//! Move of a node to a new address while its cluster runs, as recorded in `state/cluster.json`. Pure.
//!
//! In each step the node has one address that the cluster uses, and possibly a second one that firewalls, certificates
//! and listeners accept as well. A move that is turned around begins at the address in use.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{Cluster, Node, NodeName, Orchestrator, Role};

/// An unfinished move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Name of the node.
    pub node: NodeName,
    /// The address that it leaves.
    pub from: IpAddr,
    /// The address that it moves to.
    pub to: IpAddr,
    /// The step that is under way.
    pub step: Step,
}

/// Step of a move, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The old address is in use; the new one is added to the machine, its certificates and all firewalls.
    Admit,
    /// The new address is in use; the old one still works.
    Switch,
    /// Only the new address is left.
    Close,
}

impl Move {
    /// Returns the address that the cluster uses in this step.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        match self.step {
            Step::Admit => self.from,
            Step::Switch | Step::Close => self.to,
        }
    }

    /// Returns the address that works as well, if there is one.
    #[must_use]
    pub const fn second(&self) -> Option<IpAddr> {
        match self.step {
            Step::Admit => Some(self.to),
            Step::Switch => Some(self.from),
            Step::Close => None,
        }
    }

    /// Returns the move back. It begins at the address in use: one that was only admitted is taken away again, and one
    /// that was left is admitted first.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let step = match self.step {
            Step::Admit => Step::Close,
            Step::Switch | Step::Close => Step::Admit,
        };
        Self { node: self.node.clone(), from: self.to, to: self.from, step }
    }

    /// Gives the node of the cluster the addresses of this step, in place of the one in machines.nix.
    pub fn apply(&self, cluster: &mut Cluster) {
        let Some(node) = cluster.nodes.get_mut(&self.node) else { return };
        let declared = std::mem::replace(&mut node.ip, self.address());
        node.second_ip = self.second();
        if node.ssh.host == declared.to_string() {
            node.ssh.host = node.ip.to_string();
        }
    }
}

/// Returns why a running node cannot be moved from one address to another in steps, or `None` if it can.
#[must_use]
pub fn objection(cluster: &Cluster, node: &Node, is_member: bool) -> Option<&'static str> {
    let is_control_plane = node.roles.contains(&Role::ControlPlane);
    match cluster.orchestrator {
        Some(Orchestrator::K3s) if is_control_plane => Some("k3s itself manages the members of its etcd"),
        Some(Orchestrator::Kubernetes) if is_control_plane || is_member => {
            Some("the components of a control plane know its API server and its etcd by their addresses")
        }
        _ if cluster.is_router(node) => Some("the BGP sessions of all control planes end at its address"),
        _ if cluster.overlay_part(node).is_some() => Some("its subnet of the overlay follows from its address"),
        _ => None,
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} moves from {} to {}", self.node, self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Move, Step, objection};
    use crate::{NodeName, fixtures};

    fn casper(step: Step) -> Move {
        let node = NodeName::parse("casper").unwrap();
        Move { node, from: "10.13.13.4".parse().unwrap(), to: "10.13.13.9".parse().unwrap(), step }
    }

    fn addresses(of: &Move) -> (String, Option<String>) {
        (of.address().to_string(), of.second().map(|ip| ip.to_string()))
    }

    #[test]
    fn the_way_back_begins_at_the_address_in_use() {
        let (old, new) = ("10.13.13.4".to_owned(), "10.13.13.9".to_owned());
        for step in [Step::Admit, Step::Switch, Step::Close] {
            assert_eq!(casper(step).reversed().address(), casper(step).address(), "{step:?}");
        }
        assert_eq!(addresses(&casper(Step::Admit).reversed()), (old.clone(), None));
        assert_eq!(addresses(&casper(Step::Switch).reversed()), (new.clone(), Some(old.clone())));
        assert_eq!(addresses(&casper(Step::Close).reversed()), (new, Some(old)));
    }

    #[test]
    fn members_of_etcd_and_workers_move_and_what_others_know_by_its_address_does_not() {
        let can = |cluster: &crate::Cluster, node: &str, is_member| {
            objection(cluster, &cluster.nodes[node], is_member).is_none()
        };
        assert!(can(&fixtures::three_member_etcd(), "casper", true));
        assert!(can(&fixtures::ha_kubernetes(), "w1", false));
        assert!(!can(&fixtures::ha_kubernetes(), "cp1", true));
        let mut managed = fixtures::ha_kubernetes();
        managed.nodes.get_mut("router").unwrap().nixos = true;
        assert!(!can(&managed, "router", false));
        assert!(can(&fixtures::ha_k3s(), "a1", false));
        assert!(!can(&fixtures::ha_k3s(), "s1", true));
    }

    #[test]
    fn a_node_is_reached_where_it_is_unless_ssh_has_an_address_of_its_own() {
        let mut cluster = fixtures::three_member_etcd();
        let node = cluster.nodes.get_mut("casper").unwrap();
        node.ip = "10.13.13.9".parse().unwrap();
        node.ssh.host = "10.13.13.9".to_owned();
        casper(Step::Admit).apply(&mut cluster);
        assert_eq!(
            (cluster.nodes["casper"].ip.to_string().as_str(), &*cluster.nodes["casper"].ssh.host),
            ("10.13.13.4", "10.13.13.4")
        );
        cluster.nodes.get_mut("casper").unwrap().ssh.host = "casper.example.org".to_owned();
        casper(Step::Close).apply(&mut cluster);
        assert_eq!(cluster.nodes["casper"].ssh.host, "casper.example.org");
        assert_eq!(cluster.nodes["casper"].second_ip, None);
    }
}
