//! Change of membership for a machine that does not vote in etcd.

use std::collections::BTreeMap;

use crate::{
    context::Context,
    failure::{Failure, Kind},
    locks::{self, Locks},
    mesh,
    rollout::target::voters,
    run_id::run_id,
};
use machinist_model::{Cluster, NodeName, Orchestrator, RecordedState};
use machinist_rollout::step::Connector;

/// Change of the set of voters in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A node joins.
    Join,
    /// A node leaves.
    Remove,
    /// A node leaves and joins again without data.
    Replace,
    /// A node whose machine is lost leaves; another machine takes its place.
    Leave,
    /// That other machine joins.
    Return,
}

/// Handles a change of such a machine. Returns `None` if the request is about a vote.
///
/// # Errors
/// machines.nix requires another step first, or etcd cannot be queried.
pub fn answer(
    wanted: What,
    node: &NodeName,
    cluster: &Cluster,
    state: &RecordedState,
    connector: &Connector,
    context: &Context,
) -> Option<Result<(), Failure>> {
    let is_mesh = cluster.orchestrator == Some(Orchestrator::Mesh);
    let has_role = cluster.etcd_members().any(|member| member.name == *node);
    let is_there = cluster.deployable().any(|other| other.name == *node);
    if has_role {
        return None;
    }
    let is_moving = state.moving.as_ref().is_some_and(|moving| moving.node == *node);
    let is_replaced = state.replacing.as_ref().is_some_and(|replacing| replacing.node == *node);
    let input = |message: String, hint: String| Some(Err(Failure::new(Kind::Input, message).hint(hint)));
    match wanted {
        What::Join if is_there => input(
            format!("{node} has no vote in etcd, so there is nothing to join"),
            "a machine without the role \"etcd\" is in the cluster when all are deployed: `machinist deploy --all`"
                .to_owned(),
        ),
        What::Replace if is_there && is_moving => input(
            format!("{node} has no vote in etcd, so there is nothing to replace there"),
            format!(
                "after its disk was lost: `machinist install {node}`, then `machinist node readdress {node}` continues its \
                 move; or without it in machines.nix `machinist node remove {node}`"
            ),
        ),
        What::Replace if is_there => input(
            format!("{node} has no vote in etcd, so there is nothing to replace there"),
            format!(
                "after its disk was lost: `machinist install {node}`, then `machinist deploy --all`; with another machine: \
                 `machinist node replace {node} --new-machine`"
            ),
        ),
        What::Remove if is_there => input(
            format!("machines.nix still has {node}"),
            format!("`machinist node drain {node}`, take it out of machines.nix, then this again"),
        ),
        What::Remove if is_mesh || is_moving || is_replaced || state.machines.contains_key(node) => {
            let forgotten = if is_mesh { forget(node, cluster, state, connector, context) } else { Ok(()) };
            let forgotten = forgotten.and_then(|()| context.project.forget_machines(&[node.to_string()].into()));
            Some(forgotten.and_then(|()| if is_replaced { end_replacement(context) } else { Ok(()) }))
        }
        _ => None,
    }
}

/// Records the end of a replacement whose node leaves instead.
fn end_replacement(context: &Context) -> Result<(), Failure> {
    let state = RecordedState { replacing: None, ..context.project.state()? };
    context.project.record(&state)
}

/// Removes the machine from etcd: its user's rights, its record and its overlay subnet lease. Its instances end with
/// its lease.
fn forget(
    node: &NodeName,
    cluster: &Cluster,
    state: &RecordedState,
    connector: &Connector,
    context: &Context,
) -> Result<(), Failure> {
    let locks = Locks::new(context, run_id(context), connector);
    locks.hold(&locks::of_voters(cluster, state, []), &BTreeMap::new())?;
    mesh::permit(connector, cluster, &voters(cluster), &context.events)?;
    let text = "is nobody to etcd any more, and its part of an overlay is free; the others' firewalls close with `machinist deploy --all`";
    context.events.note(node, text);
    Ok(())
}
