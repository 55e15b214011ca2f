//! Reasons against a replacement, found before anything is changed.

use machinist_etcd::membership::{join_objection, removal_objection};
use machinist_model::{Cluster, Node, NodeName, Orchestrator, RecordedState};
use machinist_rollout::membership::find_voice;

use super::is_sandbox;
use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    install,
    rollout::{options::Options, target::voters},
};

/// Refuses a node whose machine machinist cannot replace.
pub(super) fn machine(cluster: &Cluster, node: &Node) -> Result<(), Failure> {
    let name = &node.name;
    if cluster.orchestrator == Some(Orchestrator::K3s) {
        let failure = Failure::new(Kind::Refused, "k3s itself keeps the list of its nodes");
        return Err(failure
            .hint(format!("`k3s kubectl delete node {name}` at another server; docs/guides/k3s.md has the rest")));
    }
    if is_sandbox(node) {
        return Err(Failure::new(Kind::Input, format!("{name} is a sandbox machine; it is made on this computer"))
            .hint(format!("`machinist sandbox up`, then `machinist node replace {name}`")));
    }
    install::installable(node).map(drop)
}

/// Refuses while the other members are not healthy: without this one they must be a quorum, and let a new one join.
pub(super) fn quorum(
    context: &Context,
    cluster: &Cluster,
    state: &RecordedState,
    node: &NodeName,
    options: &Options,
) -> Result<(), Failure> {
    if !state.etcd.bootstrapped {
        let failure = Failure::new(Kind::Input, "there is no running etcd cluster yet");
        return Err(failure.hint("`machinist deploy --all` founds it with all the members that machines.nix names"));
    }
    let all = voters(cluster);
    let others: Vec<NodeName> =
        all.keys().filter(|name| *name != node && state.etcd.members.contains(*name)).cloned().collect();
    let connector = connect::connector(context, cluster, options.accept_host_key)?;
    let refused = |why: &str| {
        let message = format!("{node} cannot be replaced now: {why}");
        Failure::new(Kind::Refused, message)
            .hint("bring the other members back first; `machinist status` shows them")
            .hint(
                "if they are lost for good, the quorum is: docs/guides/etcd.md, \"Disaster recovery\", restores from \
                 a snapshot",
            )
    };
    let voice = find_voice(&connector, &others, &all, Some(node)).map_err(|error| {
        let names: Vec<&str> = others.iter().map(NodeName::as_str).collect();
        refused(&format!("none of {} answers for etcd, which needs a quorum ({error})", names.join(", ")))
    })?;
    let id = voice.health.members.get(node).and_then(|member| member.id);
    let objection =
        join_objection(&voice.health, node).or_else(|| id.and_then(|id| removal_objection(&voice.health, id)));
    objection.map_or(Ok(()), |why| Err(refused(&why)))
}
