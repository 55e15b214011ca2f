//! Permissions in etcd for a service mesh.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_etcd::permissions::Rules;
use machinist_model::{Cluster, NodeName, RecordedState};
use machinist_rollout::{deploy::Report, membership::find_voice, permissions, step::Connector};

use crate::{
    event::Events,
    failure::{Failure, Kind},
    rollout::run::Run,
};

/// Applies the rules of the mesh to etcd, if the cluster has a mesh.
///
/// # Errors
/// No member of etcd answers, or etcd refuses a change.
pub fn permit(
    connector: &Connector,
    cluster: &Cluster,
    voters: &BTreeMap<NodeName, IpAddr>,
    events: &Events,
) -> Result<(), Failure> {
    let Some(rules) = Rules::of(cluster) else { return Ok(()) };
    let askable: Vec<NodeName> = voters.keys().cloned().collect();
    let changed = find_voice(connector, &askable, voters, None)
        .and_then(|voice| permissions::apply(&*voice.remote, &rules))
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    if changed {
        events.progress("etcd: each node's agent may read the mesh and write its own instances, and nothing else");
    }
    Ok(())
}

/// Applies the permissions at the end of a deploy, once no node uses those that are revoked.
pub(crate) fn after_deploy(run: &Run<'_>, state: &RecordedState, report: &Report) -> Result<(), Failure> {
    if report.lost.is_some() {
        return Ok(());
    }
    let events = &run.context.events;
    let permitted = || permit(&run.connector, run.cluster, &run.voters, events);
    match &report.etcd {
        Some(end) if end.has_quorum() => permitted(),
        Some(_) => Ok(()),
        // No member was among the targets, so none was queried. A new node has no rights until a member is deployed.
        None if state.etcd.bootstrapped => {
            if let Err(failure) = permitted() {
                events.warn(format!("who may do what in etcd was not looked at: {}", failure.message));
            }
            Ok(())
        }
        None => Ok(()),
    }
}
