//! Move of a running node to the address that machines.nix gives it, in steps that keep etcd's quorum.
//!
//! Each step is recorded in `state/cluster.json` before it begins, and can be repeated. Going back is a move, too: with
//! the old address in machines.nix, the same request takes the steps in the other direction.

pub(super) mod steps;

use std::{net::IpAddr, time::Instant};

use machinist_model::{
    Cluster, Move, Node, NodeName, RecordedState,
    moving::{self, Step},
};
use machinist_rollout::deploy::Report;
use serde::Serialize;

use self::steps::Steps;
use crate::{
    context::Context,
    failure::{Failure, Kind},
    project,
    rollout::{membership::refuse_changed_membership, options::Options},
};

/// Request to move a node.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the node.
    pub node: NodeName,
    /// Continues without a snapshot of etcd's data.
    pub no_snapshot: bool,
    /// Rollout options for the systems.
    pub options: Options,
}

/// Steps of a move that are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Name of the node.
    pub node: NodeName,
    /// The address that it leaves.
    pub from: IpAddr,
    /// The address that it moves to.
    pub to: IpAddr,
    /// The steps, the next one first.
    pub steps: Vec<Planned>,
}

/// Step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The step.
    pub step: Step,
    /// Its changes, in their order.
    pub changes: Vec<String>,
}

/// Outcome of a move.
#[derive(Clone, Debug)]
pub enum Readdressed {
    /// The node is recorded at the address of machines.nix.
    Nothing {
        /// The address.
        address: IpAddr,
    },
    /// The node is at its new address, and nothing refers to the old one.
    Done {
        /// The move.
        moving: Move,
    },
    /// A rollout within a step failed: the same request continues.
    NotDone {
        /// Outcome of each node.
        report: Box<Report>,
    },
}

/// Returns the steps that [`run`] would take; `None` if the node is at its address. Read-only.
///
/// # Errors
/// The node cannot be moved.
pub fn plan(context: &Context, node: &NodeName) -> Result<Option<Plan>, Failure> {
    let declared = context.project.load_declared()?.cluster;
    let state = context.project.state()?;
    let Some(moving) = wanted(&declared, &state, node)? else { return Ok(None) };
    let is_member = state.etcd.members.contains(node);
    let steps = [Step::Admit, Step::Switch, Step::Close].into_iter().filter(|step| *step >= moving.step);
    let steps = steps.map(|step| Planned { step, changes: changes(&moving, step, is_member) }).collect();
    Ok(Some(Plan { node: node.clone(), from: moving.from, to: moving.to, steps }))
}

/// Moves the node.
///
/// # Errors
/// The move is refused, or was interrupted: the same request continues.
pub fn run(context: &Context, request: &Request) -> Result<Readdressed, Failure> {
    let begun = Instant::now();
    let declared = context.project.load_declared()?.cluster;
    let state = context.project.state()?;
    let Some(moving) = wanted(&declared, &state, &request.node)? else {
        let node = &declared.nodes[&request.node];
        return Ok(Readdressed::Nothing { address: node.ip });
    };
    let mut cluster = declared.clone();
    moving.apply(&mut cluster);
    refuse_other_conflicts(&state, &cluster)?;
    refuse_changed_membership(&cluster, &state)?;
    Steps::new(context, request, declared, state, begun)?.run(moving)
}

/// Returns the move from the recorded address to that of machines.nix, or the recorded move; `None` if the node is there.
fn wanted(declared: &Cluster, state: &RecordedState, name: &NodeName) -> Result<Option<Move>, Failure> {
    let input = |message: String| Failure::new(Kind::Input, message);
    let node = declared.deployable().find(|node| node.name == *name);
    let node = node.ok_or_else(|| {
        let failure = input(format!("machines.nix has no node {name} that machinist deploys"));
        let moving = state.moving.as_ref().filter(|moving| moving.node == *name);
        failure.maybe_hint(moving.map(|_| format!("to end its move: `machinist node remove {name}`")))
    })?;
    if let Some(moving) = &state.moving {
        return recorded(moving, node).map(Some);
    }
    let Some(address) = state.address(name) else {
        return Err(input(format!("no deploy has recorded the address of {name}")).hint(format!(
            "with the address that it has now in machines.nix: `machinist deploy {name}`, then this again"
        )));
    };
    if address == node.ip {
        return Ok(None);
    }
    if let Some(why) = moving::objection(declared, node, state.etcd.members.contains(name)) {
        let message = format!("{name} cannot be moved in steps: {why}");
        let conflicts = state.conflicts(declared).into_iter();
        let remedies = conflicts.filter(|conflict| conflict.path == format!("machines.{name}.ip"));
        let failure = Failure::new(Kind::Refused, message);
        return Err(remedies.map(|conflict| conflict.remedy).fold(failure, Failure::hint));
    }
    if address.is_ipv4() != node.ip.is_ipv4() {
        return Err(Failure::new(Kind::Refused, format!("{name} would move to an address of another family")));
    }
    Ok(Some(Move { node: name.clone(), from: address, to: node.ip, step: Step::Admit }))
}

/// Returns the recorded move, in the direction that machines.nix gives.
fn recorded(moving: &Move, node: &Node) -> Result<Move, Failure> {
    if moving.node != node.name {
        let failure = Failure::new(Kind::Refused, format!("{moving}, and has not arrived: one node moves at a time"));
        return Err(failure.hint(format!("first: `machinist node readdress {}`", moving.node)));
    }
    match node.ip {
        ip if ip == moving.to => Ok(moving.clone()),
        ip if ip == moving.from => Ok(moving.reversed()),
        ip => Err(Failure::new(Kind::Refused, format!("{moving}, and machines.nix has a third address, {ip}"))
            .hint(format!("write {} into machines.nix to continue, or {} to go back", moving.to, moving.from))),
    }
}

/// Refuses other changes that the running cluster cannot take. `cluster` has the addresses of the move.
fn refuse_other_conflicts(state: &RecordedState, cluster: &Cluster) -> Result<(), Failure> {
    let settled = RecordedState { moving: None, ..state.clone() };
    project::refuse(&settled.conflicts(cluster))
}

fn changes(moving: &Move, step: Step, is_member: bool) -> Vec<String> {
    let Move { node, from, to, .. } = moving;
    let of_members = |text: String| is_member.then_some(text);
    let changes = match step {
        Step::Admit => vec![
            Some(format!("certificates of {node} for both addresses")),
            Some(format!(
                "deploy of all nodes: their firewalls admit {from} and {to}, {node} has both and listens on both"
            )),
            of_members(format!("etcd: the peer URLs of {node} are {from} and {to}")),
        ],
        Step::Switch => vec![Some(format!(
            "deploy of all nodes: they reach {node} at {to}, and {node} uses it; {from} still works"
        ))],
        Step::Close => vec![
            of_members(format!("etcd: the peer URL of {node} is {to}")),
            Some(format!("certificates of {node} for {to} alone")),
            Some(format!("deploy of all nodes: nothing admits {from} any more, {node} does not listen on it")),
            Some(format!("{node} loses {from}")),
        ],
    };
    changes.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
