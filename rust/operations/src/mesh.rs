//! After a deploy of a service mesh: who may do what in its etcd.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_etcd::permissions::Rules;
use machinist_model::{Cluster, NodeName};
use machinist_rollout::{membership::find_voice, permissions, step::Connector};

use crate::{
    event::Events,
    failure::{Failure, Kind},
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
