//! `machinist app update`: a deploy of exactly the machines that run an application, one after the other.

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    apps::{app_name, machines, require},
    deploy::Request,
    systems::BuildOn,
};

use crate::{
    args::{BuildArgs, Global, RolloutArgs},
    command::deploy,
    context,
    failure::{Failure, Kind, Outcome},
    ui::Ui,
};

/// Which application, and how.
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

    /// Who builds: this computer (`local`), each target its own system (`target`), or a node for all of them
    #[arg(long, value_name = "local|target|NODE", default_value = "local", value_parser = BuildOn::parse,
          conflicts_with = "store_path")]
    build_on: BuildOn,
}

/// Runs the command. What else has changed on these machines comes with it: a machine runs one system, not a set of parts.
pub fn run(args: &UpdateArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, &args.app)?;
    let targets: Vec<String> = machines(&cluster, &args.app).into_iter().map(NodeName::to_string).collect();
    if targets.is_empty() {
        let failure = Failure::new(Kind::Input, format!("no machine of machines.nix has {} in `apps`", args.app));
        return Err(failure.hint(format!("add it: `machines.NAME.apps = [ \"{}\" ];`", args.app)));
    }
    let deploy = Request::one_by_one(targets, args.rollout.options(), args.building.building(), args.build_on.clone());
    deploy::of(&deploy, global, ui)
}
