//! `machinist apply-local`.

use std::time::Duration;

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    apply_local::{self, Machine, Request},
    rollout::{options::Options, verdict::verdict},
};
use machinist_rollout::{deploy::Policy, step::activate::Bounds};

use crate::{
    args::{BuildArgs, Global, node_name},
    context,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Builds and deploys this machine's own system, on the machine itself.
#[derive(Debug, Args)]
pub struct ApplyLocalArgs {
    /// The node that this machine must be; by default the one with its host name
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: Option<NodeName>,

    /// Change this voter although the other voters cannot be locked from here: make sure that no other run changes one
    #[arg(long)]
    unlocked_voters: bool,

    /// Continue although this machine runs or boots a system that no deploy confirmed here
    #[arg(long)]
    accept_drift: bool,

    /// Time for the activation before it is reverted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    activation_timeout: u64,

    /// Time that the new system waits for the confirmation before it is reverted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    confirm_timeout: u64,

    /// From what
    #[command(flatten)]
    building: BuildArgs,
}

/// Runs the command.
pub fn run(args: &ApplyLocalArgs, global: &Global, ui: Ui) -> Outcome {
    let bounds = Bounds {
        activation: Duration::from_secs(args.activation_timeout),
        confirmation: Duration::from_secs(args.confirm_timeout),
        ..Bounds::default()
    };
    let policy =
        Policy { accept_drift: args.accept_drift, unlocked_voters: args.unlocked_voters, bounds, ..Policy::default() };
    let request = Request {
        node: args.node.clone(),
        machine: Machine::this(),
        options: Options { policy, ..Options::default() },
        building: args.building.building(),
    };
    let context = context::of_rollout("apply-local", None, global, ui)?;
    let report = apply_local::run(&context, &request)?;
    Ok(exit_code(verdict(&report)))
}
