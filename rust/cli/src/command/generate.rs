//! `machinist generate`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::{generate, project::Generated};

use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, Outcome, exit_code},
    ui::Ui,
};

/// Writes the facts of each node.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Write nothing; print the differences and fail if there are any
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub fn run(args: &GenerateArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    if args.check {
        return check(&generate::compare(&context)?, ui);
    }
    let generated = generate::run(&context)?;
    if ui.json {
        ui.result_json(&generated.summary());
    } else {
        for (name, verb) in generated.summary() {
            ui.result(&format!("{verb:<8} generated/{name}"));
        }
        if generated.changes.is_empty() {
            ui.result(&format!("unchanged: {} files in generated/", generated.files));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(generated: &Generated, ui: Ui) -> Outcome {
    if ui.json {
        ui.result_json(&generated.summary());
    } else {
        for (name, change) in &generated.changes {
            ui.result(change.diff(&format!("generated/{name}")).trim_end());
        }
    }
    generated.refuse_foreign()?;
    if generated.changes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if ui.json {
        return Ok(exit_code(Some(Kind::Failed)));
    }
    let count = generated.changes.len();
    let failure = Failure::new(Kind::Failed, format!("generated/ is stale: {count} of its files would change"));
    Err(failure.hint("`machinist generate` writes them"))
}
