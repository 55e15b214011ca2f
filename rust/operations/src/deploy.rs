//! Deploy: generate, build, roll out the systems in waves, and record the outcome.

use std::{path::PathBuf, time::Instant};

use machinist_model::{Cluster, NodeName, moving::Command};
use machinist_rollout::{deploy::Report, journal::Record, plan::PlanFile};

use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    locks::Locks,
    rollout::{
        end::{End, both},
        membership::{refuse_changed_membership, refuse_unrecorded_move},
        options::Options,
        planned,
        run::Run,
        runs,
        target::voters,
        verdict::verdict,
    },
    run_id::run_id,
    systems::{BuildOn, Building},
};

/// Subject of a deploy.
#[derive(Clone, Debug)]
pub enum What {
    /// All machines.
    All,
    /// Machines selected by names, globs, `@role` or `label=value`.
    Machines(Vec<String>),
    /// Targets of an interrupted run; of the last run if the ID is empty.
    Resumed(String),
    /// Plan file, as returned by [`plan::file`](crate::plan::file).
    Planned(PathBuf),
}

/// Request to deploy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Subject of the deploy.
    pub what: What,
    /// Rollout options.
    pub options: Options,
    /// Options for evaluation and build.
    pub building: Building,
    /// Location of builds.
    pub build_on: BuildOn,
    /// True if Kubernetes objects are applied afterwards.
    pub objects: bool,
}

impl Request {
    /// Returns a deploy of these machines, sequential unless the options say otherwise. Kubernetes objects are not
    /// applied.
    #[must_use]
    pub fn one_by_one(targets: Vec<String>, options: Options, building: Building, build_on: BuildOn) -> Self {
        Self { what: What::Machines(targets), options: options.one_by_one(), building, build_on, objects: false }
    }
}

/// Outcome of a deploy.
#[derive(Clone, Debug)]
pub enum Deployed {
    /// The last run is complete: there is nothing to resume.
    NothingToResume,
    /// The run is complete.
    Ended {
        /// Outcome of each node.
        report: Box<Report>,
        /// True if no Kubernetes object was left out because of an error.
        objects_applied: bool,
    },
}

impl Deployed {
    /// Returns the kind of failure; `None` on success.
    #[must_use]
    pub fn verdict(&self) -> Option<Kind> {
        match self {
            Self::NothingToResume => None,
            Self::Ended { report, objects_applied } => {
                verdict(report).or_else(|| (!objects_applied).then_some(Kind::Failed))
            }
        }
    }
}

/// Runs a deploy.
///
/// # Errors
/// Nothing was changed, or the run has ended and its record cannot be written. A node that failed is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Deployed, Failure> {
    let begun = Instant::now();
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let Some(Wanted { nodes, mut resumed, mut planned }) = wanted(context, &request.what, &cluster)? else {
        return Ok(Deployed::NothingToResume);
    };
    project.refuse_conflicts(&cluster, Command::Deploy)?;
    context.require_certificates(&cluster, &nodes)?;
    let end = End::of(project, &cluster, request.objects)?;
    let connector = connect::connector_to(&nodes, context, &cluster, request.options.accept_host_key)?;
    let voters = voters(&cluster);
    let mut state = project.state()?;
    refuse_changed_membership(&cluster, &state)?;
    let lock = resumed.as_ref().map_or_else(|| run_id(context), |record| record.lock.clone());
    let locks = Locks::new(context, lock, &connector);
    refuse_unrecorded_move(&connector, &voters, &state)?;
    let run = Run {
        context,
        build_on: &request.build_on,
        building: &request.building,
        options: &request.options,
        cluster: &cluster,
        nodes,
        voters,
        connector,
        locks: &locks,
    };
    let mut report = Report::default();
    loop {
        let rebooted = report.rebooted.clone();
        let pass = run.pass(&state, resumed.take().as_ref(), planned.take(), rebooted)?;
        report = both(report, pass);
        if !end.record_members(&run, &mut state, &report)? {
            break;
        }
    }
    let objects_applied = end.finish(&run, &state, &report, begun)?;
    Ok(Deployed::Ended { report: Box::new(report), objects_applied })
}

/// Resolved subject of a deploy.
struct Wanted {
    nodes: Vec<NodeName>,
    resumed: Option<Record>,
    planned: Option<PlanFile>,
}

fn wanted(context: &Context, what: &What, cluster: &Cluster) -> Result<Option<Wanted>, Failure> {
    let of_nodes = |nodes| Wanted { nodes, resumed: None, planned: None };
    Ok(match what {
        What::All => Some(of_nodes(connect::select(cluster, None)?)),
        What::Machines(patterns) => Some(of_nodes(connect::select(cluster, Some(patterns))?)),
        What::Resumed(run) => runs::unfinished(context, run)?.map(|record| Wanted {
            nodes: record.systems.keys().cloned().collect(),
            resumed: Some(record),
            planned: None,
        }),
        What::Planned(path) => {
            let plan = planned::read(path, cluster)?;
            let nodes = plan.nodes.keys().cloned().collect();
            Some(Wanted { nodes, resumed: None, planned: Some(plan) })
        }
    })
}
