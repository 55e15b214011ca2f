//! Plan: the changes of a deploy. Changes no host and no file of the cluster's directory.

use std::collections::BTreeMap;

use machinist_codegen::tree::Change;
use machinist_model::{Cluster, Conflict, NodeName};
use machinist_nix::StorePath;
use machinist_pki::{
    self as pki,
    report::{self, Row, State},
};
use machinist_rollout::{
    plan::{Plan, PlanFile, Survey},
    step::Connector,
    waves::Spread,
};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use crate::{
    certs, connect,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    project::Generated,
    rollout::target::{targets, traits, voters},
    systems::{self, Building},
};

/// Request for a plan.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// Distribution of nodes over waves.
    pub spread: Spread,
    /// Options for evaluation and build.
    pub building: Building,
}

/// Planned changes of a deploy.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the cluster.
    #[serde(skip)]
    pub cluster: String,
    /// Files of `generated/` that a deploy would write, by name.
    pub generated: BTreeMap<String, FactsChange>,
    /// Certificates that are missing or due for renewal.
    pub certificates: Vec<Certificate>,
    /// Descriptions of unfinished rotations of authorities and key pairs.
    pub rotations: Vec<String>,
    /// Changes that are unsafe for the running cluster: a deploy refuses them.
    pub conflicts: Vec<Conflict>,
    /// Changes of machines, and their order.
    #[serde(flatten)]
    pub plan: Plan,
}

/// Planned change of a file in `generated/`.
#[derive(Debug, Serialize)]
pub struct FactsChange {
    /// `create`, `update` or `remove`.
    pub change: &'static str,
    /// Unified diff.
    pub diff: String,
}

/// Certificate that `certs gen` would issue or renew.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// Name, such as `etcd-server-c1`.
    pub name: String,
    /// Current state of the certificate.
    pub state: State,
    /// Description of the reason.
    pub because: String,
}

impl Report {
    /// Returns the report of a plan alone, without the files of the cluster's directory.
    #[must_use]
    pub const fn of(cluster: String, plan: Plan) -> Self {
        Self {
            cluster,
            generated: BTreeMap::new(),
            certificates: Vec::new(),
            rotations: Vec::new(),
            conflicts: Vec::new(),
            plan,
        }
    }

    /// Returns true if a deploy has anything to do.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.plan.has_changes() || !self.generated.is_empty() || !self.certificates.is_empty()
    }
}

/// Plans a deploy.
///
/// # Errors
/// The cluster's files are invalid, or a system cannot be built. A node that does not answer is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let generated = project.generated(&cluster)?;
    generated.refuse_foreign()?;
    let (certificates, rotations) = certificates(context, &cluster, &nodes)?;
    let plan = built(context, request, &cluster, &nodes, &generated)?;
    let conflicts = project.conflicts(&cluster)?;
    let cluster = cluster.name.to_string();
    Ok(Report { cluster, generated: facts(&generated), certificates, rotations, conflicts, plan })
}

/// Returns the plan in the file format of `deploy --plan`.
///
/// # Errors
/// The plan is incomplete, so a deploy cannot be bound to it.
pub fn file(context: &Context, spread: &Spread, report: &Report) -> Result<String, Failure> {
    // A resolution of one second is sufficient for people.
    let now = context.clock.now();
    let made = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    let file = PlanFile::new(&report.cluster, &context.who, &made, spread, &report.plan)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).hint("the plan was not written"))?;
    let text = serde_json::to_string_pretty(&file).failed()?;
    Ok(text + "\n")
}

/// Queries the hosts about the changes to these systems.
pub(crate) fn of_systems(
    context: &Context,
    spread: &Spread,
    cluster: &Cluster,
    nodes: &[NodeName],
    systems: &BTreeMap<NodeName, StorePath>,
) -> Result<Plan, Failure> {
    let connector = connect::connector_to(nodes, context, cluster, None)?;
    survey(context, spread, cluster, connector, systems)
}

fn built(
    context: &Context,
    request: &Request,
    cluster: &Cluster,
    nodes: &[NodeName],
    generated: &Generated,
) -> Result<Plan, Failure> {
    let connector = connect::connector_to(nodes, context, cluster, None)?;
    let systems = systems::build_planned(context, &request.building, cluster, nodes, generated)?;
    survey(context, &request.spread, cluster, connector, &systems)
}

fn survey(
    context: &Context,
    spread: &Spread,
    cluster: &Cluster,
    connector: Connector,
    systems: &BTreeMap<NodeName, StorePath>,
) -> Result<Plan, Failure> {
    let project = &context.project;
    let survey = Survey {
        targets: targets(project, cluster, systems)?,
        members: voters(cluster),
        traits: cluster.deployable().map(|node| (node.name.clone(), traits(cluster, node))).collect(),
        bootstrapped: project.state()?.etcd.bootstrapped,
        founder: cluster.k3s_founder().map(|node| node.name.clone()),
        connector,
        nix: project.nix.clone(),
        spread: spread.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().failed()?;
    Ok(runtime.block_on(survey.run()))
}

fn facts(generated: &Generated) -> BTreeMap<String, FactsChange> {
    let summary = generated.summary();
    let change = |(name, change): (&String, &Change)| {
        let verb = summary.get(name.as_str()).copied().unwrap_or("update");
        (name.clone(), FactsChange { change: verb, diff: change.diff(&format!("generated/{name}")) })
    };
    generated.changes.iter().map(change).collect()
}

/// Returns the certificates of nodes and operators that `certs gen` would issue or renew, and the unfinished rotations.
fn certificates(
    context: &Context,
    cluster: &Cluster,
    nodes: &[NodeName],
) -> Result<(Vec<Certificate>, Vec<String>), Failure> {
    let survey = certs::survey(&context.project.certs(), cluster, context.clock.now())?;
    let is_of_target =
        |row: &Row| row.node.as_ref().is_none_or(|name| nodes.iter().any(|node| node.as_str() == name.as_str()));
    let rows = report::list(&survey).into_iter();
    let due = rows.filter(|row| !matches!(row.state, State::Ok | State::Orphan) && is_of_target(row));
    let of_hosts = certs::hosts::due(&context.project, cluster, context.clock.now())?.into_iter().filter(is_of_target);
    let due = due.chain(of_hosts).map(|row| Certificate { name: row.name, state: row.state, because: row.because });
    let mut rotations = pki::rotation::unfinished(&survey.table, &survey.tree);
    rotations.extend(certs::hosts::rotation(&context.project, cluster)?);
    Ok((due.collect(), rotations))
}
