//! `machinist objects`: what the cluster's API servers hold, against what machines.nix and `manifests/` say.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use machinist_kubernetes::{
    apply::{Options, Outcome as Applied},
    desired::Desired,
    diff,
};
use machinist_operations::{
    connect,
    kubernetes::{
        self,
        objects::{bring, desired, failure, problems},
        server::Reach,
    },
};

use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, Outcome, SOMETHING_TO_DO},
    objects as report,
    ui::Ui,
};

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
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let Some(desired) = desired(project, &cluster)? else {
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
    let connector = connect::connector(&context, &cluster, None)?;
    let reach = Reach { certs: project.certs(), cluster: &cluster, connector: &connector, keyring: &context.keyring };
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
            Ok(end(&outcome, &desired, ui))
        }
    }
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

/// Says what the server refused.
fn end(outcome: &Applied, desired: &Desired, ui: Ui) -> ExitCode {
    for failure in problems(outcome, desired) {
        ui.failure(&failure);
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
