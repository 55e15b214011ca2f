//! Stages of an upgrade, each with its systems: versions of etcd between the running one and the new one come first.

use std::collections::BTreeMap;

use machinist_etcd::{
    upgrade::{Stage as EtcdStage, enters_series, objections, stages},
    version::Version,
};
use machinist_model::{Cluster, NodeName, Orchestrator, moving::Command};
use machinist_rollout::step::Connector;

use super::{
    record::Record,
    systems::{self, Systems},
};
use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    rollout::{membership::refuse_changed_membership, target::voters},
    systems::Building,
};

/// Versions of etcd by member.
pub(super) type Versions = BTreeMap<NodeName, Version>;

/// What is left of an upgrade.
pub(super) struct Route {
    pub cluster: Cluster,
    pub connector: Connector,
    /// Versions of etcd that its members run; empty if the cluster has no etcd of its own.
    pub running: Versions,
    /// Stages, at least one. Only the last one has the package of the new nixpkgs.
    pub stages: Vec<Stage>,
}

/// Systems of one stage.
pub(super) struct Stage {
    /// Name of etcd's package; none for that of NixOS.
    pub package: Option<String>,
    pub systems: Systems,
    /// Versions of etcd in these systems.
    pub etcd: Versions,
}

impl Route {
    /// Builds the systems of all stages. Nothing is changed.
    ///
    /// # Errors
    /// A system cannot be built, or etcd's members cannot change to the new version in any stages.
    pub(super) fn find(context: &Context, building: &Building, record: &Record) -> Result<Self, Failure> {
        let project = &context.project;
        let cluster = project.load()?.cluster;
        let state = project.state()?;
        project.refuse_conflicts(&cluster, Command::Upgrade)?;
        refuse_changed_membership(&cluster, &state)?;
        let connector = connect::connector(context, &cluster, None)?;
        let has_etcd = state.etcd.bootstrapped && cluster.orchestrator != Some(Orchestrator::K3s);
        let members = if has_etcd { voters(&cluster) } else { BTreeMap::new() };
        let running = if members.is_empty() { Versions::new() } else { systems::running_etcd(&connector, &members)? };
        let build = |package: Option<String>| -> Result<Stage, Failure> {
            let systems = systems::build(context, building, &cluster, &record.after, package.as_deref())?;
            let etcd = systems::etcd_versions(&systems, &members, &project.nix);
            Ok(Stage { package, systems, etcd })
        };
        let last = build(None)?;
        let mut found = Vec::new();
        if let Some(to) = last.etcd.values().max().copied() {
            for between in stages(&running, to) {
                let stage = build(Some(between.series.package())).map_err(|failure| missing(failure, between, to))?;
                refuse_unfit(between, &stage.etcd, to)?;
                found.push(stage);
            }
        }
        found.push(last);
        refuse_objections(&running, &found)?;
        Ok(Self { cluster, connector, running, stages: found })
    }

    /// Returns true if a stage enters a series of etcd that not all members run.
    pub(super) fn enters_series(&self) -> bool {
        self.stages.iter().any(|stage| enters_series(&self.running, &stage.etcd))
    }

    pub(super) fn nodes(&self) -> Vec<NodeName> {
        self.cluster.deployable().map(|node| node.name.clone()).collect()
    }
}

/// Checks each stage against the versions of the one before it.
fn refuse_objections(running: &Versions, stages: &[Stage]) -> Result<(), Failure> {
    let mut before = running.clone();
    for stage in stages {
        if let Some(first) = objections(&before, &stage.etcd).into_iter().next() {
            return Err(Failure::new(Kind::Refused, format!("{}: {}", first.node, first.text)).hint(first.hint));
        }
        before.extend(stage.etcd.clone());
    }
    Ok(())
}

/// Refuses a stage whose systems have another version, such as that of a module in `nodes/`.
fn refuse_unfit(wanted: EtcdStage, found: &Versions, to: Version) -> Result<(), Failure> {
    let fits = |version: &Version| version.series == wanted.series && *version >= wanted.least;
    let Some((node, version)) = found.iter().find(|(_, version)| !fits(version)) else { return Ok(()) };
    let message = format!(
        "{node}: etcd must be {} or newer in {} before {to}, and would be {version}",
        wanted.least, wanted.series
    );
    Err(no_way(Failure::new(Kind::Refused, message), wanted))
}

fn missing(failure: Failure, wanted: EtcdStage, to: Version) -> Failure {
    if !failure.in_one_line().contains("which this nixpkgs does not have") {
        return failure;
    }
    let package = wanted.series.package();
    let message = format!(
        "etcd must be {} or newer in {} before {to}, and the new nixpkgs has no {package}",
        wanted.least, wanted.series
    );
    no_way(Failure::new(Kind::Refused, message), wanted)
}

fn no_way(failure: Failure, wanted: EtcdStage) -> Failure {
    let package = wanted.series.package();
    failure.hint(format!(
        "first `machinist upgrade --to REFERENCE` with a nixpkgs whose {package} is {} or newer; or pin one in nodes/NAME.nix of \
         each member, `services.etcd.package`, from another input of flake.nix, deploy, and remove it after",
        wanted.least
    ))
}
