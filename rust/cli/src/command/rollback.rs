//! `machinist rollback`.

use clap::Args;
use machinist_operations::{
    rollback::{self, Request},
    rollout::verdict::verdict,
};

use crate::{
    args::{Global, RolloutArgs, Targets},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Brings machines back to a system that they still have.
///
/// Without `--to` that is the newest generation from before the one that boots which is another system.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// Which nodes
    #[command(flatten)]
    targets: Targets,

    /// A generation's number on the nodes, or a run of `machinist history`: the systems that it deployed
    #[arg(long, value_name = "GENERATION|RUN")]
    to: Option<String>,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Runs the command.
pub fn run(args: &RollbackArgs, global: &Global, ui: Ui) -> Outcome {
    let options = args.rollout.options();
    let context = context::of_rollout("rollback", options.reboots, global, ui)?;
    let targets = args.targets.chosen()?;
    let report = rollback::run(&context, &Request { targets, to: args.to.clone(), options })?;
    Ok(exit_code(verdict(&report)))
}
