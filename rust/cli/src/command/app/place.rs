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

/// Arguments of `app scale`.
#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// Number of machines to run it on
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,

    /// Choose only among these machines to add or remove
    #[arg(long, value_name = "MACHINE", value_parser = node_name, value_delimiter = ',')]
    on: Vec<NodeName>,

    /// How
    #[command(flatten)]
    making: MakeArgs,
}

/// Arguments of `app move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The application
    #[arg(value_name = "NAME", value_parser = app_name)]
    app: String,

    /// The machine that runs it
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    from: NodeName,

    /// The machine to run it on
    #[arg(long, value_name = "MACHINE", value_parser = node_name)]
    to: NodeName,

    /// How
    #[command(flatten)]
    making: MakeArgs,
}

/// Arguments shared by changes of a placement.
#[derive(Debug, Args)]
struct MakeArgs {
    /// Change machines.nix and deploy the machines concerned, instead of only printing the change
    #[arg(long)]
    write: bool,

    /// Continue although a machine that no longer runs it keeps its data
    #[arg(long)]
    leave_data: bool,

    /// How machines change; one after the other unless `--max-unavailable` says otherwise
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
