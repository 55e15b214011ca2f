//! Installation of recorded members of etcd after its quorum is lost.
//!
//! etcd itself would let an installed machine start without data under its old identity, as soon as one former member
//! answers: it would vote again, and has forgotten what it acknowledged. So it gets a marker that keeps etcd from
//! starting until a restore (`modules/etcd-restore.nix`).

use std::collections::BTreeSet;

use machinist_model::{Cluster, Node, NodeName, Orchestrator};
use machinist_rollout::step::gate;

use super::Request;
use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    project::Project,
    query,
    rollout::target::voters,
};

/// Marker on the machine: etcd waits for a restore.
pub(super) const AWAITED: &str = "/var/lib/machinist/etcd-restore/awaited";

/// Returns whether the node is a recorded member that the request allows to be installed. Its data is erased.
///
/// # Errors
/// It is one, and the request does not allow it.
pub(super) fn is_awaiting(
    project: &Project,
    cluster: &Cluster,
    node: &Node,
    request: &Request,
) -> Result<bool, Failure> {
    let state = project.state()?;
    if !state.etcd.bootstrapped || !state.etcd.members.contains(&node.name) {
        return Ok(false);
    }
    let name = &node.name;
    match &request.without_quorum {
        None => {
            let message =
                format!("{name} is a recorded member of the running etcd cluster; installing it would erase its data");
            Err(Failure::new(Kind::Refused, message)
                .hint(format!("for good: `machinist node remove {name}`"))
                .hint(format!(
                    "with a new disk or machine in its place: `machinist node replace {name}`, which says when to install"
                ))
                .hint(format!(
                    "if a majority of the members is lost: `machinist install {name} --without-quorum {}`, then \
                     `machinist etcd restore` (docs/guides/etcd.md)",
                    cluster.name
                )))
        }
        Some(_) if cluster.orchestrator == Some(Orchestrator::K3s) => {
            let message = format!("{name} is a server of k3s, whose etcd machinist does not restore");
            Err(Failure::new(Kind::Input, message).hint("`k3s server --cluster-reset` on a server that is left"))
        }
        Some(cluster_name) if *cluster_name != cluster.name => {
            let message = format!("this cluster is not {cluster_name:?}");
            Err(Failure::new(Kind::Input, message).hint(format!("write --without-quorum {}", cluster.name)))
        }
        Some(_) => Ok(true),
    }
}

/// Refuses if a recorded member answers that it is healthy: then a quorum is there.
///
/// # Errors
/// One is healthy, or the pinned host keys cannot be read.
pub(super) fn refuse_quorum(context: &Context, cluster: &Cluster) -> Result<(), Failure> {
    let members = voters(cluster);
    let names: Vec<NodeName> = members.keys().cloned().collect();
    let asked = query::nodes(&names, &connect::connector(context, cluster, None)?)?;
    let mut healthy = BTreeSet::new();
    let mut silent = Vec::new();
    for (name, asked) in &asked {
        match asked {
            Ok((remote, _)) => {
                let health = gate::etcd(&**remote, &members).ok();
                let found = health.iter().flat_map(|health| &health.members);
                healthy.extend(found.filter(|(_, member)| member.problems.is_empty()).map(|(name, _)| name.clone()));
            }
            Err(_) => silent.push(name.as_str()),
        }
    }
    if !healthy.is_empty() {
        let names = healthy.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("etcd has a quorum: {names} answers; installing a member would spend a vote");
        return Err(Failure::new(Kind::Refused, message)
            .hint("one machine after the other: `machinist node replace NODE`, and leave --without-quorum out"));
    }
    if !silent.is_empty() {
        context.events.warn(format!(
            "{} {} not answer: if they are up, and only this computer does not reach them, they may have a quorum",
            silent.join(", "),
            if silent.len() == 1 { "does" } else { "do" }
        ));
    }
    Ok(())
}
