//! `machinist dns`.

use std::{collections::BTreeSet, process::ExitCode};

use clap::Args;
use machinist_operations::dns::{self, Publication, Published, Request, Unpublished, past};
use machinist_providers::dns::{
    plan::{Change, Plan, Verb},
    zone::full,
};
use serde_json::json;

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome, SOMETHING_TO_DO},
    ui::Ui,
};

/// Publishes the records of machines.nix in a DNS zone, and deletes those of nodes that are gone.
///
/// A record that the cluster did not create is refused, never changed. The token is that of servers at the provider:
/// HCLOUD_TOKEN or DIGITALOCEAN_TOKEN, or the file that HCLOUD_TOKEN_FILE or DIGITALOCEAN_TOKEN_FILE names.
#[derive(Debug, Args)]
pub struct DnsArgs {
    /// Show what would change, and change nothing
    #[arg(long)]
    plan: bool,

    /// Delete all records of the cluster
    #[arg(long)]
    remove: bool,

    /// Print the records as a part of a zone file, for a zone that is elsewhere
    #[arg(long, conflicts_with_all = ["plan", "remove"])]
    zone_file: bool,
}

/// Runs the command.
pub fn run(args: &DnsArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    if args.zone_file {
        let text = dns::zone_file(&context)?;
        if ui.json {
            ui.result_json(&json!({ "zoneFile": text }));
        } else {
            ui.document(text.as_bytes());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let publication = dns::prepare(&context, Request { remove: args.remove })?;
    let plan = publication.plan();
    plan.warnings.iter().for_each(|warning| ui.warn(warning));
    if args.plan {
        if ui.json {
            ui.result_json(plan);
        } else {
            words(plan).iter().for_each(|line| ui.result(line));
        }
        return Ok(if plan.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(SOMETHING_TO_DO) });
    }
    make(&publication, ui)
}

fn make(publication: &Publication, ui: Ui) -> Outcome {
    if !ui.json {
        words(publication.plan()).iter().for_each(|line| ui.story(line));
    }
    let end = publication.run()?;
    tell(&end, ui);
    Ok(if end.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

/// Returns the plan for a person, a change a line.
fn words(plan: &Plan) -> Vec<String> {
    let width = plan.changes.iter().map(|change| full(&change.key.name, &plan.zone).len()).max().unwrap_or_default();
    let mut lines: Vec<String> = plan.changes.iter().map(|change| line(change, &plan.zone, width)).collect();
    lines.extend(plan.notes.iter().map(|note| format!("note: {}: {}", full(&note.name, &plan.zone), note.reason)));
    let count = |verb: Verb| plan.count(verb);
    let (create, change, delete) = (count(Verb::Create), count(Verb::Change), count(Verb::Delete));
    lines.push(format!(
        "{}: {create} to create, {change} to change, {delete} to delete, {} unchanged",
        plan.zone, plan.unchanged
    ));
    lines
}

fn line(change: &Change, zone: &str, width: usize) -> String {
    let name = full(&change.key.name, zone);
    let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(" ");
    let (verb, detail) = match change.verb {
        Verb::Create => ("create", format!("{}  {} s", list(&change.values), change.ttl)),
        Verb::Delete if change.before.is_empty() => ("delete", "(only the TXT record of its owner is left)".to_owned()),
        Verb::Delete => ("delete", list(&change.before)),
        Verb::Change if change.before == change.values => {
            let before = change.ttl_before.map_or_else(|| "the zone's time".to_owned(), |ttl| format!("{ttl} s"));
            ("change", format!("{}  {before} -> {} s", list(&change.values), change.ttl))
        }
        Verb::Change => ("change", format!("{} -> {}  {} s", list(&change.before), list(&change.values), change.ttl)),
    };
    format!("{verb}  {:4}  {name:width$}  {detail}", change.key.kind)
}

fn tell(end: &Published, ui: Ui) {
    if ui.json {
        return ui.result_json(end);
    }
    for change in &end.done {
        ui.result(&format!("{} {} is {}", full(&change.key.name, &end.zone), change.key.kind, past(change.verb)));
    }
    for Unpublished { name, failure } in &end.failed {
        ui.story(&format!("{name}:"));
        ui.failure(failure);
    }
    if end.done.is_empty() && end.failed.is_empty() {
        ui.result(&format!("{} has all records as they are in machines.nix", end.zone));
    }
}
