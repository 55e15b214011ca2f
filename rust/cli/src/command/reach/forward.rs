//! `machinist port-forward`.

use std::process::ExitCode;

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::reach::forward::{self, Mapping, Request};

use crate::{
    args::{Global, node_name},
    context,
    failure::Outcome,
    signals,
    ui::Ui,
};

/// Forwards local ports to ports that a machine reaches, until Ctrl-C.
#[derive(Debug, Args)]
pub struct PortForwardArgs {
    /// The machine
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,

    /// A port of 127.0.0.1 here (0 for a free one), and one of the machine or of a host that it reaches
    #[arg(value_name = "LOCAL:[HOST:]PORT", required = true, value_parser = Mapping::parse)]
    mappings: Vec<Mapping>,
}

/// Runs the command.
pub fn run(args: &PortForwardArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let ended = signals::end_on(context.interrupt.clone());
    forward::run(&context, &Request { node: args.node.clone(), mappings: args.mappings.clone() })?;
    Ok(ended.code().map_or(ExitCode::SUCCESS, ExitCode::from))
}
