//! Checks of a deploy against the membership of a running etcd.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use machinist_model::{Cluster, NodeName, Orchestrator, RecordedState};
use machinist_rollout::{membership::find_voice, step::Connector};

use crate::failure::{Failure, Kind};

/// Refuses a changed set of members. One that is only in machines.nix could not join, and one that was removed there
/// would still count for the quorum: both require a change of etcd's membership by `machinist node`.
pub fn refuse_changed_membership(cluster: &Cluster, state: &RecordedState) -> Result<(), Failure> {
    let wanted: BTreeSet<NodeName> = cluster.voters().map(|node| node.name.clone()).collect();
    let recorded = &state.etcd.members;
    if !state.etcd.bootstrapped || wanted == *recorded {
        return Ok(());
    }
    if cluster.orchestrator == Some(Orchestrator::K3s) {
        return refuse_lost_servers(recorded.difference(&wanted).map(NodeName::as_str).collect());
    }
    if let Some(replacing) = state.replacing.as_ref().filter(|replacing| wanted.contains(&replacing.node)) {
        return Err(Failure::new(Kind::Refused, replacing).hint(replacing.continuation()));
    }
    let mut changes = Vec::new();
    changes.extend(wanted.difference(recorded).map(|node| (node, "would be new", "join")));
    changes.extend(recorded.difference(&wanted).map(|node| (node, "would be gone", "remove")));
    let words: Vec<String> = changes.iter().map(|(node, what, _)| format!("{node} {what}")).collect();
    let commands: Vec<String> =
        changes.iter().map(|(node, _, verb)| format!("`machinist node {verb} {node}`")).collect();
    let message = format!("the members of the running etcd cluster would change: {}", words.join(", "));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "a deploy never changes who votes: {}; after a change by hand, record it in state/cluster.json",
        commands.join(", ")
    )))
}

/// Refuses moved members if the state file is from before addresses were recorded: etcd itself is queried for its
/// members' addresses.
pub fn refuse_unrecorded_move(
    connector: &Connector,
    voters: &BTreeMap<NodeName, IpAddr>,
    state: &RecordedState,
) -> Result<(), Failure> {
    if !state.etcd.bootstrapped || state.running.is_some() {
        return Ok(());
    }
    let askable: Vec<NodeName> = voters.keys().cloned().collect();
    let Ok(voice) = find_voice(connector, &askable, voters, None) else { return Ok(()) };
    let words: Vec<String> = voice.health.moved().map(|(node, urls)| format!("{node} is at {urls}")).collect();
    if words.is_empty() {
        return Ok(());
    }
    let message = format!("machines.nix has other addresses than the running etcd cluster: {}", words.join("; "));
    Err(Failure::new(Kind::Refused, message).hint(
        "write the addresses back and deploy, which records them; then a member moves by `machinist node readdress` \
         (docs/guides/changes.md)",
    ))
}

/// Refuses the removal of k3s servers from machines.nix: they are still members and count for the quorum. A new server
/// joins when it is deployed.
fn refuse_lost_servers(gone: Vec<&str>) -> Result<(), Failure> {
    let Some(first) = gone.first() else { return Ok(()) };
    let message = format!("{} would be gone from the servers of the running k3s cluster", gone.join(", "));
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "take it out of the cluster first, at another server: `k3s kubectl delete node {first}`; then out of \
         state/cluster.json"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{RecordedState, Replacement, fixtures, replacing::Step};

    use super::refuse_changed_membership;

    #[test]
    fn a_member_that_has_left_for_a_new_machine_is_not_told_to_join() {
        let cluster = fixtures::three_member_etcd();
        let mut state = RecordedState::default();
        state.etcd.bootstrapped = true;
        state.etcd.members = cluster.voters().map(|node| node.name.clone()).collect();
        refuse_changed_membership(&cluster, &state).unwrap();
        let node = state.etcd.members.pop_first().unwrap();
        let failure = refuse_changed_membership(&cluster, &state).unwrap_err();
        assert!(failure.hints[0].contains(&format!("`machinist node join {node}`")), "{failure:?}");
        state.replacing =
            Some(Replacement { node: node.clone(), step: Step::Install, server_type: None, location: None });
        let failure = refuse_changed_membership(&cluster, &state).unwrap_err();
        assert!(failure.hints[0].contains(&format!("`machinist node replace {node}` continues")), "{failure:?}");
    }
}
