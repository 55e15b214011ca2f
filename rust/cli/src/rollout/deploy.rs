//! A deploy from the first look at the directory to the last word about the machines.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, time::Instant};

use machinist_rollout::{deploy::EtcdEnd, waves::Limit};

use super::{
    args::RolloutArgs,
    membership::{refuse_changed_membership, refuse_unrecorded_move},
    planned,
    report::exit_code,
    run::Run,
    runs,
    target::voters,
};
use crate::{
    args::Global,
    certs, connect,
    failure::{Kind, Outcome},
    kubernetes::objects,
    locks::{self, Locks},
    mesh,
    project::Project,
    run_id::run_id,
    systems::{BuildArgs, BuildOn},
    ui::Ui,
};

/// What is deployed.
#[derive(Clone, Debug)]
pub enum What {
    /// All machines.
    All,
    /// The machines that patterns name.
    Machines(Vec<String>),
    /// What a run that was cut off was to bring; the last run if it has no name.
    Resumed(String),
    /// What a file says that `machinist plan --out` wrote.
    Planned(PathBuf),
}

/// A deploy.
#[derive(Clone, Debug)]
pub struct Request {
    /// What.
    pub what: What,
    /// How.
    pub rollout: RolloutArgs,
    /// From what.
    pub building: BuildArgs,
    /// Who builds.
    pub build_on: BuildOn,
    /// Whether objects in Kubernetes follow.
    pub objects: bool,
}

impl Request {
    /// A deploy of these machines, one after the other unless something else is asked for. Objects in Kubernetes stay.
    pub fn one_by_one(targets: Vec<String>, rollout: &RolloutArgs, building: &BuildArgs, build_on: &BuildOn) -> Self {
        let mut rollout = rollout.clone();
        rollout.spread.max_unavailable.get_or_insert(Limit::Nodes(1));
        let what = What::Machines(targets);
        Self { what, rollout, building: building.clone(), build_on: build_on.clone(), objects: false }
    }
}

/// Deploys.
pub fn run(request: &Request, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let mut resumed = None;
    let mut planned = None;
    let nodes = match &request.what {
        What::All => connect::select(&cluster, None)?,
        What::Machines(patterns) => connect::select(&cluster, Some(patterns))?,
        What::Resumed(wanted) => {
            let Some(record) = runs::unfinished(&project, wanted, ui)? else { return Ok(ExitCode::SUCCESS) };
            let nodes = record.systems.keys().cloned().collect();
            resumed = Some(record);
            nodes
        }
        What::Planned(path) => {
            let plan = planned::read(path, &cluster)?;
            let nodes = plan.nodes.keys().cloned().collect();
            planned = Some(plan);
            nodes
        }
    };
    project.refuse_conflicts(&cluster)?;
    certs::require(&project.certs(), &cluster, &nodes, ui)?;
    // Before anything is changed anywhere: a manifest that cannot be read is found now.
    let desired = if request.objects { objects::desired(&project, &cluster)? } else { None };
    let connector = connect::connector_to(&nodes, &project, &cluster, global, request.rollout.accept_host_key)?;
    let voters = voters(&cluster);
    let state = project.state()?;
    refuse_changed_membership(&cluster, &state)?;
    let lock = resumed.as_ref().map_or_else(run_id, |record| record.lock.clone());
    let locks = Locks::new(lock, &connector, ui);
    refuse_unrecorded_move(&connector, &voters, &state)?;
    let run = Run {
        verb: "deploy",
        build_on: &request.build_on,
        building: &request.building,
        args: &request.rollout,
        project: &project,
        cluster: &cluster,
        nodes,
        voters,
        connector,
        locks: &locks,
        global,
        ui,
    };
    let mut report = run.pass(&state, resumed.as_ref(), planned, BTreeSet::new())?;
    if !state.etcd.bootstrapped && report.etcd.as_ref().is_some_and(EtcdEnd::has_quorum) {
        report = run.settle(report)?;
    } else if state.etcd.bootstrapped {
        run.record_servers(&report)?;
    }
    run.record_running(&report)?;
    locks::record_machines(&project, run.locks, &report)?;
    let objects_are_well = desired.is_none_or(|desired| run.bring_objects(&report, &desired));
    run.tell(&report, begun.elapsed());
    match &report.etcd {
        _ if report.lost.is_some() => {}
        Some(end) if end.has_quorum() => mesh::permit(&run.connector, &cluster, &run.voters, ui)?,
        Some(_) => {}
        // No member was among the targets, and none was asked. A new node has no rights until one is.
        None if state.etcd.bootstrapped => {
            if let Err(failure) = mesh::permit(&run.connector, &cluster, &run.voters, ui) {
                ui.warn(&format!("who may do what in etcd was not looked at: {}", failure.message));
            }
        }
        None => {}
    }
    match (objects_are_well, exit_code(&report)) {
        (false, 0) => Ok(ExitCode::from(Kind::Failed.code())),
        (_, code) => Ok(ExitCode::from(code)),
    }
}
