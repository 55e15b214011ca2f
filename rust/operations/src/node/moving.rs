//! Changes of etcd's members while a node moves to a new address: which address each node has then, and the end of a move
//! whose machine, or whose data, is lost.

use std::net::IpAddr;

use machinist_model::{Cluster, Conflict, Move, Node, NodeName, RecordedState, moving::Command};

use super::{readdress::steps::unpin, without_vote::What};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// The move that is unfinished during a change of etcd's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum During {
    /// No node moves.
    Rest,
    /// Another node moves: it keeps the address in use, and both are admitted. Of the last step, the former one is taken
    /// again when the move continues.
    Beside(Move),
    /// The node itself moves, and leaves.
    Removed(Move),
    /// The node itself moves, and joins again at the address of machines.nix. Its machine may be the same one, which then
    /// still sends from the other address: both are admitted until the rest of the move is done.
    Replaced {
        /// Its address in etcd.
        before: IpAddr,
        /// The rest of the move.
        then: Move,
    },
}

impl During {
    /// Finds the move.
    ///
    /// # Errors
    /// The node moves, and would join.
    pub(super) fn of(state: &RecordedState, what: What, node: &NodeName, declared: &Cluster) -> Result<Self, Failure> {
        let Some(moving) = &state.moving else { return Ok(Self::Rest) };
        let command = match what {
            _ if moving.node != *node => Command::ChangeOtherMember,
            What::Join => Command::JoinMovingNode,
            What::Remove | What::Replace | What::Leave | What::Return => Command::DropMovingMember,
        };
        if state.unsafe_move(command).is_some() {
            let failure = Failure::new(Kind::Refused, format!("{moving}, and has not arrived"));
            return Err(failure.hint(moving.continuation()));
        }
        if command == Command::ChangeOtherMember {
            return Ok(Self::Beside(moving.widened()));
        }
        match declared.nodes.get(node).filter(|_| what != What::Remove) {
            None => Ok(Self::Removed(moving.clone())),
            Some(node) => Ok(Self::Replaced { before: moving.address(), then: moving.onward(node.ip) }),
        }
    }

    /// Returns the cluster of machines.nix with the addresses that it has during the change.
    pub(super) fn cluster(&self, mut declared: Cluster) -> Cluster {
        match self {
            Self::Rest | Self::Removed(_) => {}
            Self::Beside(moving) | Self::Replaced { then: moving, .. } => moving.apply(&mut declared),
        }
        declared
    }

    /// Returns the changes in machines.nix that the running cluster cannot take. Of a node that is replaced or removed,
    /// nothing recorded counts.
    pub(super) fn conflicts(&self, state: &RecordedState, cluster: &Cluster) -> Vec<Conflict> {
        let mut state = state.clone();
        if matches!(self, Self::Removed(_) | Self::Replaced { .. }) {
            state.drop_move();
        }
        state.conflicts_with(cluster, Command::ChangeOtherMember)
    }

    /// Returns the address at which etcd knows the node that changes, if it knows it.
    pub(super) const fn address_in_etcd(&self, node: &Node) -> IpAddr {
        match self {
            Self::Replaced { before, .. } => *before,
            Self::Rest | Self::Beside(_) | Self::Removed(_) => node.ip,
        }
    }

    /// Returns true if etcd knows the node that changes at another address than the one at which it joins.
    pub(super) fn is_elsewhere(&self, node: &Node) -> bool {
        self.address_in_etcd(node) != node.ip
    }
}

/// Records the end of a move whose machine has left the cluster. Returns the record.
pub(super) fn end(
    context: &Context,
    mut state: RecordedState,
    cluster: &Cluster,
    moving: &Move,
) -> Result<RecordedState, Failure> {
    state.drop_move();
    context.project.record(&state)?;
    unpin(context, cluster, moving)?;
    context.events.note(&moving.node, "its move has ended; `machinist deploy --all` closes both addresses everywhere");
    Ok(state)
}
