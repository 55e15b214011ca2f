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

/// Applies objects to the cluster.
#[derive(Debug, Subcommand)]
pub enum ObjectsCommand {
    /// Print the declared objects as YAML, without contacting a machine
    Show,
    /// Show what an apply would change, as the API server reports it; exit code 4 if anything
    Diff,
    /// Apply all objects to the cluster, and prune those that are no longer declared
    Apply(ApplyArgs),
}

/// Arguments of `objects apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Also prune resources that hold data (namespaces, volumes and their claims, custom resource definitions) once
    /// they are no longer declared
    #[arg(long)]
    prune_data: bool,

    /// Time to wait for nodes to register when objects are applied for the first time, in seconds
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

/// Reports the objects that the server refused, and returns the exit code.
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
