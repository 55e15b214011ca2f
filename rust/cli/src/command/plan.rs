//! `machinist plan`: what a deploy would change. No host and no file of the cluster's directory is changed.

mod render;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use machinist_model::{Cluster, Conflict, NodeName};
use machinist_pki::{
    self as pki, Policy,
    report::{self, Row, State},
};
use machinist_rollout::{
    plan::{Plan, PlanFile, Survey},
    waves::Spread,
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    args::Global,
    connect,
    failure::{Failure, Kind, OrFail, Outcome, SOMETHING_TO_DO},
    output,
    project::{Generated, Project},
    rollout::{
        args::SpreadArgs,
        target::{targets, traits, voters},
    },
    signals,
    systems::{self, BuildArgs},
    ui::Ui,
};

/// Says what a deploy would change, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing to do, 4 something to do, 1 a host could not be asked.")]
pub struct PlanArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Keep the plan in this file: `machinist deploy --plan FILE` brings exactly that, or refuses
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// How
    #[command(flatten)]
    spread: SpreadArgs,

    /// From what
    #[command(flatten)]
    building: BuildArgs,
}

/// All that there is to say.
#[derive(Debug, Serialize)]
struct Report {
    /// Files of `generated/` that a deploy would write, each with its diff.
    generated: BTreeMap<String, FactsChange>,
    /// Certificates that are to be made or renewed.
    certificates: Vec<Certificate>,
    /// Rotations of authorities and key pairs that are not finished, in words.
    rotations: Vec<String>,
    /// What the running cluster cannot take: a deploy refuses it.
    conflicts: Vec<Conflict>,
    #[serde(flatten)]
    plan: Plan,
}

#[derive(Debug, Serialize)]
struct FactsChange {
    change: &'static str,
    diff: String,
}

#[derive(Debug, Serialize)]
struct Certificate {
    name: String,
    state: State,
    because: String,
}

/// Runs the command.
pub fn run(args: &PlanArgs, global: &Global, ui: Ui) -> Outcome {
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let patterns = (!args.targets.is_empty()).then_some(args.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let generated = project.generated(&cluster)?;
    generated.refuse_foreign()?;
    let (certificates, rotations) = certificates(&project, &cluster, &nodes)?;
    let spread = args.spread.spread();
    let plan = survey(&project, &args.building, &cluster, &nodes, &generated, &spread, global, ui)?;
    let conflicts = project.conflicts(&cluster)?;
    let report = Report { generated: facts(&generated), certificates, rotations, conflicts, plan };
    let kept = args.out.as_ref().map(|out| keep(&cluster, &spread, &report.plan, out));
    if ui.json {
        ui.result_json(&report);
    } else {
        ui.result(render::report(&report, ui).trim_end());
    }
    kept.transpose()?;
    Ok(ExitCode::from(report.exit_code()))
}

/// Writes the plan to a file.
fn keep(cluster: &Cluster, spread: &Spread, plan: &Plan, out: &Path) -> Result<(), Failure> {
    // Seconds are exact enough for people.
    let now = OffsetDateTime::now_utc();
    let made = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
    let file = PlanFile::new(&cluster.name, &signals::who(), &made, spread, plan)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).hint("the plan was not written"))?;
    let text = serde_json::to_string_pretty(&file).failed()?;
    output::write(out, (text + "\n").as_bytes(), 0o644).failed()
}

impl Report {
    fn has_changes(&self) -> bool {
        self.plan.has_changes() || !self.generated.is_empty() || !self.certificates.is_empty()
    }

    fn exit_code(&self) -> u8 {
        match (self.plan.is_partial(), self.has_changes()) {
            (true, _) => Kind::Failed.code(),
            (false, true) => SOMETHING_TO_DO,
            (false, false) => 0,
        }
    }
}

/// Asks the hosts what a deploy would change there.
fn survey(
    project: &Project,
    building: &BuildArgs,
    cluster: &Cluster,
    nodes: &[NodeName],
    generated: &Generated,
    spread: &Spread,
    global: &Global,
    ui: Ui,
) -> Result<Plan, Failure> {
    let connector = connect::connector_to(nodes, project, cluster, global, None)?;
    let systems = systems::build_planned(project, building, nodes, generated, ui)?;
    let survey = Survey {
        targets: targets(project, cluster, &systems)?,
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
    let change = |(name, change): (&String, &machinist_codegen::tree::Change)| {
        let verb = summary.get(name.as_str()).copied().unwrap_or("update");
        (name.clone(), FactsChange { change: verb, diff: change.diff(&format!("generated/{name}")) })
    };
    generated.changes.iter().map(change).collect()
}

/// Returns the certificates of the nodes and of everyone that `certs gen` would make or renew, and the rotations that are not
/// finished.
fn certificates(
    project: &Project,
    cluster: &Cluster,
    nodes: &[NodeName],
) -> Result<(Vec<Certificate>, Vec<String>), Failure> {
    let survey = pki::survey(&project.certs(), cluster, &Policy::default(), OffsetDateTime::now_utc()).failed()?;
    let of_targets =
        |row: &Row| row.node.as_ref().is_none_or(|name| nodes.iter().any(|node| node.as_str() == name.as_str()));
    let rows = report::list(&survey).into_iter();
    let due = rows.filter(|row| !matches!(row.state, State::Ok | State::Orphan) && of_targets(row));
    let due = due.map(|row| Certificate { name: row.name, state: row.state, because: row.because }).collect();
    Ok((due, pki::rotation::unfinished(&survey.table, &survey.tree)))
}
