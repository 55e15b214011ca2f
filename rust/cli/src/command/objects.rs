//! `machinist objects`: what the cluster's API servers hold, against what machines.nix and `manifests/` say.

mod report;
mod server;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use machinist_kubernetes::{
    apply::{self, ApplyError, Options, Outcome as Applied},
    desired::{self, Desired},
    diff, manifest,
};
use machinist_model::{Cluster, Orchestrator};
use machinist_rollout::step::Connector;

pub use self::server::Reach;
use crate::{
    args::Global,
    connect,
    failure::{Failure, Kind, OrFail, Outcome},
    kubernetes,
    project::Project,
    ui::Ui,
};

/// Where a person's own objects are, in the cluster's directory.
const MANIFESTS: &str = "manifests";
/// The exit code of a comparison that found something.
const SOMETHING_TO_DO: u8 = 4;
/// How long nodes may take to register when a deploy brings objects to a new cluster.
const REGISTRATION: Duration = Duration::from_secs(10);

/// Brings objects to the cluster.
#[derive(Debug, Subcommand)]
pub enum ObjectsCommand {
    /// Print the objects that machines.nix and manifests/ ask for, as YAML, without asking anybody
    Show,
    /// Say what an apply would change, by the API server's own words, and change nothing; exit code 4 if anything would
    Diff,
    /// Bring all objects to the cluster, and remove what was brought and nobody wants any more
    Apply(ApplyArgs),
}

/// How objects are brought.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Remove also what holds data (namespaces, volumes and their claims, definitions of kinds) when nobody wants it any more
    #[arg(long)]
    prune_data: bool,

    /// Seconds to wait for nodes that have not registered yet, when objects are brought for the first time
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait_nodes: u64,
}

/// Runs the command.
pub fn run(command: &ObjectsCommand, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let Some(desired) = desired(&project, &cluster)? else {
        return Err(kubernetes::missing(&cluster, "no objects were looked at", |server| {
            format!(
                "its servers apply services.k3s.manifests of nodes/NAME.nix; by hand: `ssh {server} k3s kubectl apply -f -`"
            )
        }));
    };
    if matches!(command, ObjectsCommand::Show) {
        report::show(&desired, ui);
        return Ok(ExitCode::SUCCESS);
    }
    let connector = connect::connector(&project, &cluster, global, None)?;
    let reach = Reach { certs: project.certs(), cluster: &cluster, connector: &connector, global };
    match command {
        ObjectsCommand::Show => Ok(ExitCode::SUCCESS),
        ObjectsCommand::Diff => compare(&reach, &desired, ui),
        ObjectsCommand::Apply(args) => {
            let options = Options {
                thorough: true,
                prune_data: args.prune_data,
                wait_for_nodes: Duration::from_secs(args.wait_nodes),
            };
            let outcome = bring(&reach, &desired, options)?;
            report::applied(&outcome, begun.elapsed(), ui);
            Ok(problems(&outcome, &desired, ui))
        }
    }
}

/// Returns all that should be in the cluster; `None` without Kubernetes. k3s takes its objects from its servers' disks.
pub fn desired(project: &Project, cluster: &Cluster) -> Result<Option<Desired>, Failure> {
    if cluster.orchestrator != Some(Orchestrator::Kubernetes) {
        return Ok(None);
    }
    let documents = manifest::read(&project.directory, MANIFESTS).map_err(|errors| {
        let hint = errors.first().and_then(manifest::ManifestError::hint);
        let texts = errors.iter().map(|error| Failure::from_error(Kind::Input, error).in_one_line());
        Failure::new(Kind::Input, texts.collect::<Vec<_>>().join("\n")).maybe_hint(hint)
    })?;
    let desired = desired::desired(cluster, &documents).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Kind::Input, texts.join("\n"))
    })?;
    Ok(Some(desired))
}

/// The end of a deploy: brings the objects if they have changed. Returns whether all is well.
pub fn after_deploy(
    project: &Project,
    cluster: &Cluster,
    connector: &Connector,
    global: &Global,
    desired: &Desired,
    ui: Ui,
) -> bool {
    let begun = Instant::now();
    let options = Options { wait_for_nodes: REGISTRATION, ..Options::default() };
    match bring(&Reach { certs: project.certs(), cluster, connector, global }, desired, options) {
        Ok(outcome) => {
            report::after_deploy(&outcome, begun.elapsed(), ui);
            problems(&outcome, desired, ui) == ExitCode::SUCCESS
        }
        Err(failure) => {
            ui.failure(
                &failure
                    .hint("the machines are as the deploy left them: `machinist objects apply` does this part again"),
            );
            false
        }
    }
}

fn bring(reach: &Reach<'_>, desired: &Desired, options: Options) -> Result<Applied, Failure> {
    reach.with_server(|server| async move { apply::apply(&server, desired, &options).await.map_err(failure) })
}

fn compare(reach: &Reach<'_>, desired: &Desired, ui: Ui) -> Outcome {
    let found = reach.with_server(|server| async move { diff::compare(&server, desired).await.map_err(failure) })?;
    report::compared(&found, ui);
    for problem in &found.problems {
        ui.failure(&Failure::from_error(Kind::Failed, problem).maybe_hint(problem.hint(&desired.cluster)));
    }
    Ok(match (found.problems.is_empty(), found.differences.is_empty()) {
        (false, _) => ExitCode::from(Kind::Failed.code()),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(SOMETHING_TO_DO),
    })
}

fn failure(error: ApplyError) -> Failure {
    let kind = if matches!(error, ApplyError::UnknownKinds(_)) { Kind::Input } else { Kind::Failed };
    Failure::from_error(kind, &error).maybe_hint(error.hint())
}

/// Says what the server refused.
fn problems(outcome: &Applied, desired: &Desired, ui: Ui) -> ExitCode {
    for problem in &outcome.problems {
        ui.failure(&Failure::from_error(Kind::Failed, problem).maybe_hint(problem.hint(&desired.cluster)));
    }
    match outcome.problems.len() {
        0 => ExitCode::SUCCESS,
        count => {
            if !ui.json {
                let noun = if count == 1 { "object was" } else { "objects were" };
                ui.story(&format!("{count} {noun} not applied; `machinist objects apply` does it again"));
            }
            ExitCode::from(Kind::Failed.code())
        }
    }
}

/// A runtime for the requests.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().failed()
}
