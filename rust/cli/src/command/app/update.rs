//! `machinist app update`.

use clap::Args;
use machinist_operations::{
    app::update::{self, Request},
    apps::app_name,
    systems::BuildOn,
};

use crate::{
    args::{BuildArgs, Global, RolloutArgs},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `app update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// How; machines change one after the other unless `--max-unavailable` says otherwise
    #[command(flatten)]
    rollout: RolloutArgs,

    /// From what
    #[command(flatten)]
    building: BuildArgs,

    /// Build on this computer (`local`), each system on its own target (`target`), or all on one node
    #[arg(long, value_name = "local|target|NODE", default_value = "local", value_parser = BuildOn::parse,
          conflicts_with = "store_path")]
    build_on: BuildOn,
}

/// Runs the command.
pub fn run(args: &UpdateArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Request {
        app: args.app.clone(),
        options: args.rollout.options(),
        building: args.building.building(),
        build_on: args.build_on.clone(),
    };
    let context = context::of_rollout("deploy", request.options.reboots, global, ui)?;
    Ok(exit_code(update::run(&context, &request)?.verdict()))
}
