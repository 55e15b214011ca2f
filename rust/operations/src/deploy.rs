//! Deploy: generate, build, bring the systems to the machines in waves, and record what came of it.

use std::{path::PathBuf, time::Instant};

use machinist_model::{Cluster, NodeName};
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

/// Selection of systems to deploy.
#[derive(Clone, Debug)]
pub enum What {
    /// All machines.
    All,
    /// The machines that names, globs, `@role` or `label=value` select.
    Machines(Vec<String>),
    /// The systems of an interrupted run; the last run if the name is empty.
    Resumed(String),
    /// The systems of a file that [`plan::file`](crate::plan::file) returned.
    Planned(PathBuf),
}

/// A deploy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Selection of systems to deploy.
    pub what: What,
    /// Rollout options.
    pub options: Options,
    /// Build options.
    pub building: Building,
    /// Builder.
    pub build_on: BuildOn,
    /// True if objects in Kubernetes are applied afterwards.
    pub objects: bool,
}

impl Request {
    /// A deploy of these machines, one after the other unless the options say otherwise. Objects in Kubernetes stay.
    #[must_use]
    pub fn one_by_one(targets: Vec<String>, options: Options, building: Building, build_on: BuildOn) -> Self {
        Self { what: What::Machines(targets), options: options.one_by_one(), building, build_on, objects: false }
    }
}

/// End of a deploy.
#[derive(Clone, Debug)]
pub enum Deployed {
    /// The last run has ended: there is nothing to resume.
    NothingToResume,
    /// The run came to its end.
    Ended {
        /// Each node's outcome.
        report: Box<Report>,
        /// True if no object in Kubernetes was left out because of an error.
        objects_applied: bool,
    },
}

impl Deployed {
    /// Returns what kind of failure the end is; `None` if all is well.
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

/// Deploys.
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
    project.refuse_conflicts(&cluster)?;
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

/// Nodes of a request, with its earlier run or its plan.
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
