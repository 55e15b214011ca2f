//! `machinist node replace`.

use std::{process::ExitCode, time::Instant};

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    node::{
        membership::Changed,
        replacement::{self, Plan, Replaced, Request},
    },
    rollout::verdict::verdict,
};

use super::tell;
use crate::{
    args::{Global, RolloutArgs, node_name},
    command::install::InstallationArgs,
    context,
    failure::{Outcome, SOMETHING_TO_DO, exit_code},
    ui::Ui,
};

/// Arguments of `node replace`.
#[derive(Debug, Args)]
pub struct ReplaceArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// Show the steps that are left, with the price; change nothing
    #[arg(long)]
    plan: bool,

    /// Replace the machine, too: delete its server and create another one; without a server, install the machine that is
    /// at its address now
    #[arg(long)]
    new_machine: bool,

    /// Type of the new server, where that of machines.nix is sold out
    #[arg(long, value_name = "TYPE")]
    server_type: Option<String>,

    /// Location of the new server, where that of machines.nix has none left
    #[arg(long, value_name = "LOCATION")]
    location: Option<String>,

    /// How the new machine is installed
    #[command(flatten)]
    installation: InstallationArgs,

    /// Continue without a snapshot of etcd's data
    #[arg(long)]
    no_snapshot: bool,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Runs the command.
pub fn run(args: &ReplaceArgs, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let options = args.rollout.options();
    let node = &args.node;
    let context = context::of_rollout(&format!("node replace {node}"), options.reboots, global, ui)?;
    let request = Request {
        node: node.clone(),
        new_machine: args.new_machine,
        server_type: args.server_type.clone(),
        location: args.location.clone(),
        installation: args.installation.request(),
        no_snapshot: args.no_snapshot,
        options,
    };
    if args.plan {
        tell_plan(&replacement::plan(&context, &request)?, ui);
        return Ok(ExitCode::from(SOMETHING_TO_DO));
    }
    match replacement::run(&context, &request)? {
        Replaced::NotDone { report } | Replaced::SameMachine(Changed::NotDone { report }) => {
            return Ok(exit_code(verdict(&report)));
        }
        Replaced::SameMachine(Changed::Done { what, members }) => tell(node, what, &members, begun.elapsed(), ui),
        Replaced::SameMachine(_) => {}
        Replaced::NewMachine { members, unwritten } => {
            let what = if members.contains(node) { "has a new machine, and votes" } else { "has a new machine" };
            tell(node, what, &members, begun.elapsed(), ui);
            if !ui.json {
                ui.story("commit certs/ and nodes/, too");
            }
            for setting in unwritten {
                ui.story(&format!(
                    "write {setting} into machines.{node}.hetzner of machines.nix: its server has that now"
                ));
            }
        }
    }
    Ok(exit_code(None))
}

fn tell_plan(plan: &Plan, ui: Ui) {
    if ui.json {
        return ui.result_json(plan);
    }
    let Plan { node, same_machine, steps, price, currency } = plan;
    let what = if *same_machine { "keeps its machine, and joins again without data" } else { "gets a new machine" };
    ui.result(&format!("{node} {what}"));
    for planned in steps {
        ui.result(&format!("  {}", planned.step));
        for change in &planned.changes {
            ui.result(&format!("    {change}"));
        }
    }
    if let (Some(price), Some(currency)) = (price, currency) {
        let (hourly, monthly) = (price.hourly, price.monthly);
        ui.result(&format!("the new server: {hourly:.4} {currency} an hour, at most {monthly:.2} a month without tax"));
    }
}
