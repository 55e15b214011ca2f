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

    /// Returns the move in the step in which both addresses work, with the same address in use: what a change of other
    /// nodes must keep. The last step closes the address that was left only after its own checks.
    #[must_use]
    pub fn widened(&self) -> Self {
        let step = if self.step == Step::Close { Step::Switch } else { self.step };
        Self { step, ..self.clone() }
    }

    /// Returns the rest of the move for a node that joins again at this address: it uses that, and the other address of
    /// the move still works.
    #[must_use]
    pub fn onward(&self, to: IpAddr) -> Self {
        let other = if to == self.address() { self.second() } else { Some(self.address()) };
        let from = other.unwrap_or(if to == self.to { self.from } else { self.to });
        Self { node: self.node.clone(), from, to, step: Step::Switch }
    }

    /// Returns the commands that finish the move: forward, back, and without the node.
    #[must_use]
    pub fn continuation(&self) -> String {
        let Self { node, from, .. } = self;
        format!(
            "`machinist node readdress {node}` continues; to go back, write the address {from} into machines.nix first; if \
             its machine is lost, `machinist node replace {node}`, or `node remove` without it in machines.nix, ends the move"
        )
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

/// Command that changes hosts, their certificates or the members of etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `deploy` and `apply-local`.
    Deploy,
    /// `rollback`.
    Rollback,
    /// `upgrade`.
    Upgrade,
    /// `rehearse`.
    Rehearse,
    /// `install`.
    Install,
    /// `certs gen` and `certs renew`.
    IssueCertificates,
    /// `certs rotate-ca`, `rotate-sa` and `rotate-encryption`.
    RotateKeys,
    /// `node join`, `remove` and `replace` of another node than the one that moves.
    ChangeOtherMember,
    /// `node remove` and `replace` of the node that moves, which end the move.
    DropMovingMember,
    /// `node join` of the node that moves.
    JoinMovingNode,
    /// `node drain` and `uncordon`.
    Drain,
    /// `etcd restore`.
    RestoreEtcd,
    /// `etcd verify --repair`.
    RepairEtcd,
    /// `etcd defrag` and `etcd move-leader`.
    MaintainEtcd,
}

const ALL: &[Step] = &[Step::Admit, Step::Switch, Step::Close];
const NONE: &[Step] = &[];

impl Command {
    /// Returns the steps of an unfinished move in which the command is safe.
    #[must_use]
    pub const fn safe_in(self) -> &'static [Step] {
        match self {
            // The order of a step's deploys, and the checks between them, are those of `node readdress`.
            Self::Deploy | Self::Upgrade | Self::Rehearse => NONE,
            // An earlier system does not admit the address that the node has by now.
            Self::Rollback => NONE,
            // Certificates follow the steps. A rotation needs deploys between its stages.
            Self::IssueCertificates | Self::RotateKeys => NONE,
            // The members found themselves again at the address that each one's system has for the node, and these
            // systems differ within a step.
            Self::RestoreEtcd => NONE,
            // A member is written again with one peer URL.
            Self::RepairEtcd => NONE,
            // A node without a role in etcd gets the facts of the step, as by the step itself.
            Self::Install => ALL,
            // Members change one at a time, with both addresses admitted (`Move::widened`) and the one in use in etcd.
            Self::ChangeOtherMember => ALL,
            // The node has left etcd before an address closes.
            Self::DropMovingMember => ALL,
            Self::JoinMovingNode => NONE,
            // No address is changed, and each node is reached at the one in use.
            Self::Drain | Self::MaintainEtcd => ALL,
        }
    }

    /// Returns true if the command is safe in the step.
    #[must_use]
    pub fn is_safe_in(self, step: Step) -> bool {
        self.safe_in().contains(&step)
    }
}

/// Returns why a running node cannot be moved from one address to another in steps, or `None` if it can.
#[must_use]
pub fn objection(cluster: &Cluster, node: &Node, is_member: bool) -> Option<&'static str> {
    let is_control_plane = node.roles.contains(&Role::ControlPlane);
    match cluster.orchestrator {
        _ if cluster.network.control.is_some() => Some("its address is that of its interface in the control mesh"),
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
    fn a_change_of_other_nodes_keeps_the_address_in_use_and_admits_the_other() {
        for step in [Step::Admit, Step::Switch, Step::Close] {
            let widened = casper(step).widened();
            assert_eq!(widened.address(), casper(step).address(), "{step:?}");
            assert!(widened.second().is_some(), "{step:?}");
            assert_eq!(addresses(&widened.reversed()).0, addresses(&casper(step).reversed()).0, "{step:?}");
        }
    }

    #[test]
    fn a_node_that_joins_again_uses_its_address_in_machines_nix_and_keeps_the_other() {
        let onward = |step, to: &str| addresses(&casper(step).onward(to.parse().unwrap()));
        let [old, new, third] = ["10.13.13.4", "10.13.13.9", "10.13.13.7"].map(str::to_owned);
        for step in [Step::Admit, Step::Switch, Step::Close] {
            assert_eq!(onward(step, &new), (new.clone(), Some(old.clone())), "{step:?}");
            assert_eq!(onward(step, &old), (old.clone(), Some(new.clone())), "{step:?}");
            assert_eq!(onward(step, &third), (third.clone(), Some(casper(step).address().to_string())), "{step:?}");
        }
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
