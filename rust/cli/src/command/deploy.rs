//! `machinist deploy`.

use std::path::PathBuf;

use clap::Args;
use machinist_operations::{
    deploy::{self, Deployed, Request, What},
    systems::BuildOn,
};

use crate::{
    args::{BuildArgs, Global, RolloutArgs, targets},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Builds the targets' systems and deploys them to the machines.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Names, globs such as `cp*`, `@role`, or `label=value`
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "resume", "plan"])]
    targets: Vec<String>,

    /// All machines
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// Continue a run that was cut off [default: the last one]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["targets", "all"])]
    resume: Option<String>,

    /// Deploy exactly the plan that `machinist plan --out FILE` wrote, or refuse if something has changed since
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["targets", "all", "resume", "max_unavailable", "canary", "across_zones", "reboot"]
    )]
    plan: Option<PathBuf>,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,

    /// From what
    #[command(flatten)]
    building: BuildArgs,

    /// Build on this computer (`local`), each system on its own target (`target`), or all on one node
    #[arg(long, value_name = "local|target|NODE", default_value = "local", value_parser = BuildOn::parse,
          conflicts_with_all = ["store_path", "plan"])]
    build_on: BuildOn,

    /// Do not apply objects to Kubernetes
    #[arg(long)]
    no_objects: bool,
}

/// Runs the command.
pub fn run(args: &DeployArgs, global: &Global, ui: Ui) -> Outcome {
    let what = match (&args.resume, &args.plan) {
        (Some(run), _) => What::Resumed(run.clone()),
        (_, Some(plan)) => What::Planned(plan.clone()),
        _ if args.all => What::All,
        _ => What::Machines(targets::expand(&args.targets)?),
    };
    let request = Request {
        what,
        options: args.rollout.options(),
        building: args.building.building(),
        build_on: args.build_on.clone(),
        objects: !args.no_objects,
    };
    let context = context::of_rollout("deploy", request.options.reboots, global, ui)?;
    let deployed = deploy::run(&context, &request)?;
    match &deployed {
        Deployed::Ended { .. } => {}
        Deployed::NothingToResume if ui.json => ui.result_json(&serde_json::json!({ "resumed": null })),
        Deployed::NothingToResume => ui.result("the last run came to its end: there is nothing to resume"),
    }
    Ok(exit_code(deployed.verdict()))
}
