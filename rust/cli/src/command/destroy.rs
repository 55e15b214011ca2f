//! `machinist destroy`.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Args;
use machinist_operations::provision::{self, Destroy, DestroyRequest, Destroyed, Doomed, Undeleted};
use machinist_providers::observed::FoundServer;

use crate::{
    args::Global,
    context,
    failure::{Failure, Kind, Outcome},
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
    announce(&destroy, ui);
    if args.yes_destroy.is_none() && !destroy.is_empty() && !io::stdin().is_terminal() {
        let message = "servers would be deleted, and there is no terminal to ask at";
        let hint = "give consent with --yes-destroy CLUSTER; --yes is not enough";
        return Err(Failure::new(Kind::Refused, message).hint(hint));
    }
    let end = destroy.run()?;
    let failed = !end.failed.is_empty();
    if ui.json {
        ui.result_json(&end);
    } else {
        tell(&end, ui);
    }
    if let Some(zone) = destroy.zone().filter(|_| !failed) {
        let command = if destroy.is_whole() { "machinist dns --remove" } else { "machinist dns" };
        ui.story(&format!("`{command}` deletes the DNS records in {zone}"));
    }
    Ok(if failed { ExitCode::from(Kind::Failed.code()) } else { ExitCode::SUCCESS })
}

/// Lists what is about to be deleted.
pub(super) fn announce(destroy: &Destroy, ui: Ui) {
    if ui.json {
        return;
    }
    for Doomed { node, server, .. } in destroy.nodes() {
        match server {
            Some(server) => {
                let FoundServer { name, server_type, location, .. } = server;
                ui.story(&format!("delete  {name}  {server_type} {location} ({node})"));
            }
            None => ui.story(&format!("forget  {node}: its server is gone")),
        }
    }
    for leftover in destroy.leftovers() {
        ui.story(&format!("keep    {} {}: it stays, and may cost", leftover.kind, leftover.name));
    }
}

/// Lists what was deleted.
pub(super) fn tell(end: &Destroyed, ui: Ui) {
    for node in &end.servers {
        ui.result(&format!("{node}: its server is deleted"));
    }
    for thing in &end.shared {
        ui.result(&format!("{thing} is deleted"));
    }
    for thing in &end.kept {
        ui.result(&format!("{thing} stays: servers of others use it"));
    }
    for Undeleted { failure, .. } in &end.failed {
        ui.failure(failure);
    }
    if end.servers.is_empty() && end.shared.is_empty() && end.failed.is_empty() {
        ui.result("there is nothing at the provider");
    }
}
