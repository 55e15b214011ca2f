//! Systems of a stage: those of the new nixpkgs, with etcd's package of that stage. Built in a copy of the directory.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_etcd::version::Version;
use machinist_model::{Cluster, NodeName};
use machinist_nix::{Nix, StorePath};
use machinist_rollout::{
    etcd_version::etcd_of,
    membership::find_voice,
    software::{self, Software},
    step::{Connector, StepError},
};

use super::pin::LOCK;
use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    files,
    systems::{self, Building},
};

/// Systems by node.
pub(super) type Systems = BTreeMap<NodeName, StorePath>;

/// Builds the systems of all nodes with this lock file and this package of etcd. The directory is not changed.
pub(super) fn build(
    context: &Context,
    building: &Building,
    cluster: &Cluster,
    lock: &str,
    package: Option<&str>,
) -> Result<Systems, Failure> {
    let project = &context.project;
    let mut state = project.state()?;
    state.etcd.package = package.map(str::to_owned);
    let generated = project.generated_for(cluster, &state)?;
    generated.refuse_foreign()?;
    let copy = tempfile::Builder::new().prefix("machinist-upgrade-").tempdir().failed()?;
    let (flake, directory) = project.copy(copy.path())?;
    generated.write(&directory.join("generated"))?;
    files::write(&directory.join(LOCK), lock).failed()?;
    flake.make_visible(&["generated"]).failed()?;
    let nodes: Vec<NodeName> = cluster.deployable().map(|node| node.name.clone()).collect();
    systems::build(context, building, cluster, &flake, &nodes)
}

/// Returns the version of etcd that members get, by node.
/// One that cannot be recognised is missing: the plan of the stage refuses it.
pub(super) fn etcd_versions(
    systems: &Systems,
    members: &BTreeMap<NodeName, IpAddr>,
    nix: &Nix,
) -> BTreeMap<NodeName, Version> {
    let of_members = systems.iter().filter(|(node, _)| members.contains_key(*node));
    of_members.filter_map(|(node, system)| Some((node.clone(), etcd_of(system, nix)?.version?))).collect()
}

/// Queries etcd for the versions that its members run. Refuses unless all are healthy.
pub(super) fn running_etcd(
    connector: &Connector,
    members: &BTreeMap<NodeName, IpAddr>,
) -> Result<BTreeMap<NodeName, Version>, Failure> {
    let askable: Vec<NodeName> = members.keys().cloned().collect();
    let voice = find_voice(connector, &askable, members, None)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    if !voice.health.is_whole() {
        let broken: Vec<String> = voice.health.broken().map(|(node, why)| format!("{node} {why}")).collect();
        let strangers = voice.health.unmanaged.iter().map(|stranger| format!("{stranger} is not in machines.nix"));
        let words: Vec<String> = broken.into_iter().chain(strangers).collect();
        let message = format!("an upgrade needs all members of etcd healthy: {}", words.join("; "));
        return Err(Failure::new(Kind::Refused, message).hint("`machinist etcd status` shows the members")).map_err(
            |failure| {
                failure.hint(
                    "a member that went back after all others had changed: `machinist deploy MEMBER`, then this again",
                )
            },
        );
    }
    let version = |(node, member): (&NodeName, &machinist_etcd::etcd::Member)| {
        Some((node.clone(), Version::parse(member.version.as_deref()?)?))
    };
    Ok(voice.health.members.iter().filter_map(version).collect())
}

/// Queries all hosts for the versions of their running systems. A host that does not answer is missing.
pub(super) fn running(connector: &Connector, nodes: &[NodeName]) -> BTreeMap<NodeName, Software> {
    let ask = |node: &NodeName| {
        connector.connect(node).map_err(StepError::from).and_then(|remote| software::running(&*remote))
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = nodes.iter().map(|node| (node, scope.spawn(move || ask(node)))).collect();
        let answered = asked.into_iter().filter_map(|(node, thread)| Some((node.clone(), thread.join().ok()?.ok()?)));
        answered.collect()
    })
}
