//! `machinist eval`.

use clap::Args;
use machinist_operations::eval::{self, Request};

use crate::{
    args::{Global, targets},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Prints machines.nix and the facts as JSON.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Names, globs, `@role`, `label=value` of the nodes whose facts are printed; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Print the value of machines.nix as Nix evaluates it: unchecked, without defaults and facts
    #[arg(long, conflicts_with = "targets")]
    raw: bool,
}

/// Runs the command. The result is JSON, with `--json` or without.
pub fn run(args: &EvalArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    if args.raw {
        ui.result_json(&eval::raw(&context.project)?);
    } else {
        ui.result_json(&eval::run(&context, &Request { targets: targets::expand(&args.targets)? })?);
    }
    Ok(exit_code(None))
}
