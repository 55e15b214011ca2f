//! `machinist app scale` and `machinist app move`.

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    app::place::{self, Plan, Request},
    apps::app_name,
    context::Context,
    systems::BuildOn,
};

use crate::{
    args::{BuildArgs, Global, RolloutArgs, node_name},
    context,
    failure::{Failure, Outcome, exit_code},
    ui::Ui,
};

/// How many instances.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// On how many machines it shall run
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,

    /// Choose among these machines only: where it shall run also, or where it shall no longer
    #[arg(long, value_name = "MACHINE", value_parser = node_name, value_delimiter = ',')]
    on: Vec<NodeName>,

    /// How
    #[command(flatten)]
    making: MakeArgs,
}

/// From where to where.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// The machine that runs it
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    from: NodeName,

    /// The machine that shall run it
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    to: NodeName,

    /// How
    #[command(flatten)]
    making: MakeArgs,
}

/// How a placement is changed.
#[derive(Debug, Args)]
struct MakeArgs {
    /// Change machines.nix, and deploy the machines concerned; else only say what would change
    #[arg(long)]
    write: bool,

    /// Go on although a machine that no longer runs it has data of it, which stays there
    #[arg(long)]
    leave_data: bool,

    /// How machines change; one after the other unless `--max-unavailable` says otherwise
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

/// Runs `app scale`.
pub fn scale(args: &ScaleArgs, global: &Global, ui: Ui) -> Outcome {
    let context = args.making.context(global, ui)?;
    let plan = place::scale(&context, &args.app, usize::from(args.count), &args.on)?;
    make(&context, &plan, &args.making, ui)
}

/// Runs `app move`.
pub fn relocate(args: &MoveArgs, global: &Global, ui: Ui) -> Outcome {
    let context = args.making.context(global, ui)?;
    let plan = place::relocate(&context, &args.app, &args.from, &args.to)?;
    make(&context, &plan, &args.making, ui)
}

impl MakeArgs {
    fn context(&self, global: &Global, ui: Ui) -> Result<Context, Failure> {
        context::of_rollout("deploy", self.rollout.options().reboots, global, ui)
    }

    fn request(&self) -> Request {
        Request {
            leave_data: self.leave_data,
            options: self.rollout.options(),
            building: self.building.building(),
            build_on: self.build_on.clone(),
        }
    }
}

/// Prints the change, and makes it if requested.
fn make(context: &Context, plan: &Plan, args: &MakeArgs, ui: Ui) -> Outcome {
    tell(plan, args.write, ui);
    if !plan.is_change() || !args.write {
        return Ok(exit_code(None));
    }
    Ok(exit_code(place::make(context, plan, &args.request())?))
}

fn tell(plan: &Plan, writes: bool, ui: Ui) {
    let Plan { app, change, diff, order, .. } = plan;
    if ui.json && !writes {
        ui.result_json(
            &serde_json::json!({ "application": app, "add": change.add, "remove": change.remove, "diff": diff }),
        );
    } else if diff.is_empty() {
        ui.result(&format!("{app} runs where it shall: nothing changes"));
    } else if !ui.json {
        ui.result(diff.trim_end());
        if !writes {
            ui.story(&format!("`--write` changes machines.nix so, then does as {order}"));
        }
    }
}
