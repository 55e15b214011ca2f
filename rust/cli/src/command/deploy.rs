//! `machinist deploy`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    args::Global,
    failure::Outcome,
    rollout::{
        args::RolloutArgs,
        deploy::{self, Request, What},
    },
    systems::{BuildArgs, BuildOn},
    ui::Ui,
};

/// Builds the targets' systems and brings them to the machines.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Names, globs such as `cp*`, `@role`, or `label=value`
    #[arg(value_name = "TARGET", required_unless_present_any = ["all", "resume", "plan"])]
    targets: Vec<String>,

    /// All machines
    #[arg(long, conflicts_with = "targets")]
    all: bool,

    /// Go on with a run that was cut off, the last one if not said
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["targets", "all"])]
    resume: Option<String>,

    /// Bring exactly what `machinist plan --out FILE` wrote, or refuse because something has changed since
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

    /// Who builds: this computer (`local`), each target its own system (`target`), or a node for all of them
    #[arg(long, value_name = "local|target|NODE", default_value = "local", value_parser = BuildOn::parse,
          conflicts_with_all = ["store_path", "plan"])]
    build_on: BuildOn,

    /// Leave the objects in Kubernetes as they are
    #[arg(long)]
    no_objects: bool,
}

/// Runs the command.
pub fn run(args: &DeployArgs, global: &Global, ui: Ui) -> Outcome {
    let what = match (&args.resume, &args.plan) {
        (Some(run), _) => What::Resumed(run.clone()),
        (_, Some(plan)) => What::Planned(plan.clone()),
        _ if args.all => What::All,
        _ => What::Machines(args.targets.clone()),
    };
    let request = Request {
        what,
        rollout: args.rollout.clone(),
        building: args.building.clone(),
        build_on: args.build_on.clone(),
        objects: !args.no_objects,
    };
    deploy::run(&request, global, ui)
}
