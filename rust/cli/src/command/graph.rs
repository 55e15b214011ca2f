//! `machinist graph`.

use clap::Args;
use machinist_operations::graph::{self, Request};
use machinist_topology::{
    Topology,
    domain::Division,
    picture::Format,
    service::{Kind, Need},
    topology::{Health, Tolerated},
};

use crate::{
    args::Global,
    context,
    failure::{Outcome, exit_code},
    ui::{Tone, Ui},
};

/// Shows what the cluster provides, on which machines it stands, and what a failure takes.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Print a picture instead of tables: dot, mermaid or svg
    #[arg(long)]
    format: Option<Format>,

    /// A label whose values are failure domains, besides zone, rack, location and the like
    #[arg(long, value_name = "LABEL")]
    by: Option<String>,

    /// Ask the machines, and show their health
    #[arg(long)]
    live: bool,
}

/// Runs the command.
pub fn run(args: &GraphArgs, global: &Global, ui: Ui) -> Outcome {
    let request = Request { by: args.by.clone(), live: args.live };
    let topology = graph::run(&context::open(global, ui)?, &request)?;
    match args.format {
        _ if ui.json => ui.result_json(&topology),
        Some(format) => ui.document(format.draw(&topology).as_bytes()),
        None => tables(&topology, ui),
    }
    Ok(exit_code(None))
}

fn tables(topology: &Topology, ui: Ui) {
    if topology.services.is_empty() {
        ui.result("Nothing in machines.nix stands on more than its own machine.");
        return;
    }
    let kinds = topology.divisions.iter().map(|division| format!("{}S MAY FAIL", division.kind.to_uppercase()));
    let header: Vec<String> = ["SERVICE", "NEEDS"].map(str::to_owned).into_iter().chain(kinds).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    ui.result_table(&header, topology.services.iter().map(|service| row(service, ui)).collect());
    if topology.services.iter().any(|service| service.service.kind == Kind::App) {
        ui.result(
            "An application counts while one instance is left; a database that votes needs a majority of its own.",
        );
    }
    ui.result("");
    failures(topology, ui);
    if !topology.health.is_empty() {
        ui.result("");
        let row = |(name, health): (&_, &Health)| {
            let tone = if health.healthy { Tone::Good } else { Tone::Bad };
            vec![format!("{name}"), ui.paint(tone, &health.says)]
        };
        ui.result_table(&["MACHINE", "HEALTH"], topology.health.iter().map(row).collect());
    }
}

fn row(service: &Tolerated, ui: Ui) -> Vec<String> {
    let need = |need: &Need| {
        let names: Vec<&str> = need.of.iter().map(|name| name.as_str()).collect();
        format!("{} of {} {} ({})", need.least, need.of.len(), need.what, names.join(" "))
    };
    let needs: Vec<String> = service.service.needs.iter().map(need).collect();
    let count = |count: &usize| {
        let tone = if *count == 0 { Tone::Careful } else { Tone::Good };
        ui.paint(tone, &count.to_string())
    };
    let cells = [service.service.name.clone(), needs.join(", ")];
    cells.into_iter().chain(service.tolerates.iter().map(count)).collect()
}

fn failures(topology: &Topology, ui: Ui) {
    let takes_nothing = |division: &&Division| {
        let mut of_kind = topology.failures.iter().filter(|failure| failure.kind == division.kind);
        of_kind.all(|failure| failure.lost.is_empty())
    };
    for division in topology.divisions.iter().filter(takes_nothing) {
        ui.result(&format!("No single {} takes a service.", division.kind));
    }
    let or_none = |names: &[String]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    let rows: Vec<Vec<String>> = topology
        .failures
        .iter()
        .map(|failure| {
            let lost = or_none(&failure.lost);
            let lost = if failure.lost.is_empty() { lost } else { ui.paint(Tone::Bad, &lost) };
            vec![format!("{} {}", failure.kind, failure.domain), lost, or_none(&failure.without_reserve)]
        })
        .collect();
    if !rows.is_empty() {
        ui.result_table(&["WITHOUT", "IS LOST", "HAS NO RESERVE LEFT"], rows);
    }
}
