//! `machinist objects`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use machinist_operations::{
    context::Context,
    failure::Failure,
    objects::{self, Request},
};

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome, SOMETHING_TO_DO, exit_code},
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
    let context = context::open(global, ui)?;
    match command {
        ObjectsCommand::Show => {
            report::show(&objects::show(&context)?, ui);
            Ok(exit_code(None))
        }
        ObjectsCommand::Diff => compare(&context, ui),
        ObjectsCommand::Apply(args) => apply(args, &context, ui),
    }
}

fn compare(context: &Context, ui: Ui) -> Outcome {
    let found = objects::compare(context)?;
    report::compared(&found.comparison, ui);
    found.problems.iter().for_each(|failure| ui.failure(failure));
    Ok(match (found.problems.is_empty(), found.comparison.differences.is_empty()) {
        (false, _) => exit_code(Some(Kind::Failed)),
        (true, true) => exit_code(None),
        (true, false) => ExitCode::from(SOMETHING_TO_DO),
    })
}

fn apply(args: &ApplyArgs, context: &Context, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let wait_for_nodes = Duration::from_secs(args.wait_nodes);
    let applied = objects::apply(context, &Request { prune_data: args.prune_data, wait_for_nodes })?;
    report::applied(&applied.outcome, begun.elapsed(), ui);
    Ok(end(&applied.problems, ui))
}

/// Reports the objects that the server refused.
fn end(problems: &[Failure], ui: Ui) -> ExitCode {
    problems.iter().for_each(|failure| ui.failure(failure));
    if problems.is_empty() {
        return exit_code(None);
    }
    if !ui.json {
        let noun = if problems.len() == 1 { "object was" } else { "objects were" };
        ui.story(&format!("{} {noun} not applied; `machinist objects apply` does it again", problems.len()));
    }
    exit_code(Some(Kind::Failed))
}
