//! `machinist node readdress`.

use std::time::Instant;

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    node::readdress::{self, Plan, Readdressed, Request},
    rollout::verdict::verdict,
};

use crate::{
    args::{Global, RolloutArgs, node_name},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Arguments of `node readdress`.
#[derive(Debug, Args)]
pub struct ReaddressArgs {
    /// The node
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// Show the steps that are left; change nothing
    #[arg(long)]
    plan: bool,

    /// Continue without a snapshot of etcd's data
    #[arg(long)]
    no_snapshot: bool,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,
}

/// Runs the command.
pub fn run(args: &ReaddressArgs, global: &Global, ui: Ui) -> Outcome {
    let begun = Instant::now();
    let options = args.rollout.options();
    let context = context::of_rollout(&format!("node readdress {}", args.node), options.reboots, global, ui)?;
    if args.plan {
        let plan = readdress::plan(&context, &args.node)?;
        tell_plan(&args.node, plan.as_ref(), ui);
        return Ok(exit_code(None));
    }
    let request = Request { node: args.node.clone(), no_snapshot: args.no_snapshot, options };
    let node = &args.node;
    match readdress::run(&context, &request)? {
        Readdressed::NotDone { report } => return Ok(exit_code(verdict(&report))),
        Readdressed::Nothing { address } => {
            say(ui, node, &address.to_string(), &format!("{node} is at {address} already"))
        }
        Readdressed::Done { moving } => {
            let seconds = begun.elapsed().as_secs_f64();
            let text = format!("{node} has moved from {} to {} ({seconds:.1} s)", moving.from, moving.to);
            say(ui, node, &moving.to.to_string(), &text);
            if !ui.json {
                ui.story("commit machines.nix, state/, certs/ and generated/");
            }
        }
    }
    Ok(exit_code(None))
}

fn tell_plan(node: &NodeName, plan: Option<&Plan>, ui: Ui) {
    if ui.json {
        ui.result_json(&serde_json::json!({ "plan": plan }));
        return;
    }
    let Some(plan) = plan else {
        ui.result(&format!("{node} is at its address: nothing is to do"));
        return;
    };
    ui.result(&format!("{node} moves from {} to {}", plan.from, plan.to));
    for planned in &plan.steps {
        let step = format!("{:?}", planned.step).to_lowercase();
        ui.result(&format!("  {step}"));
        for change in &planned.changes {
            ui.result(&format!("    {change}"));
        }
    }
    ui.result(&format!("the way back at any time: {} in machines.nix, and the same command", plan.from));
}

fn say(ui: Ui, node: &NodeName, address: &str, text: &str) {
    if ui.json {
        ui.result_json_line(&serde_json::json!({ "event": "report", "node": node, "address": address }));
    } else {
        ui.result(text);
    }
}
