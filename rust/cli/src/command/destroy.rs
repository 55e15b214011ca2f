//! `machinist destroy`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::provision::{self, DestroyRequest, Incomplete};

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome},
    ui::Ui,
};

/// Deletes servers at their provider, and everything on them.
///
/// Refuses nodes that the running cluster needs, unless the whole cluster ends. `--yes` is not enough: the cluster's name
/// has to be typed, or given.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Names of nodes, also of servers that machines.nix has no more; all of the cluster by default
    #[arg(value_name = "NODE")]
    targets: Vec<String>,

    /// Consent in advance: the name of the cluster
    #[arg(long, value_name = "CLUSTER")]
    yes_destroy: Option<String>,
}

/// Runs the command.
pub fn run(args: &DestroyArgs, global: &Global, ui: Ui) -> Outcome {
    let strict = Global { yes: false, ..global.clone() };
    let context = context::open(&strict, ui)?;
    let request = DestroyRequest { targets: args.targets.clone(), confirmed: args.yes_destroy.clone() };
    let destroy = provision::prepare_destroy(&context, &request)?;
    if !ui.json {
        for (node, server) in destroy.nodes() {
            ui.story(&format!("delete  {}  {} {} ({})", server.name, server.server_type, server.location, node));
        }
        for leftover in destroy.leftovers() {
            ui.story(&format!("keep    {} {}: it stays, and may cost", leftover.kind, leftover.name));
        }
    }
    let end = destroy.run()?;
    let failed = !end.failed.is_empty();
    if ui.json {
        ui.result_json(&end);
    } else {
        for node in &end.servers {
            ui.result(&format!("{node}: its server is deleted"));
        }
        for thing in &end.shared {
            ui.result(&format!("{thing} is deleted"));
        }
        for Incomplete { failure, .. } in &end.failed {
            ui.failure(failure);
        }
        if end.servers.is_empty() && end.shared.is_empty() && !failed {
            ui.result("there is nothing at the provider");
        }
    }
    Ok(if failed { ExitCode::from(Kind::Failed.code()) } else { ExitCode::SUCCESS })
}
