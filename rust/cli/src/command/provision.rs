//! `machinist provision`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::provision::{self, Incomplete, Provisioned, Request};
use machinist_providers::{
    observed::Price,
    plan::{Plan, Step},
};
use serde::Serialize;

use crate::{
    args::{Global, targets},
    context,
    failure::{Kind, Outcome, SOMETHING_TO_DO},
    ui::{Tone, Ui},
};

/// Creates the servers that machines.nix describes at their provider, with network, firewalls and SSH keys.
///
/// The token comes from HCLOUD_TOKEN or DIGITALOCEAN_TOKEN, or from the file that HCLOUD_TOKEN_FILE or
/// DIGITALOCEAN_TOKEN_FILE names.
#[derive(Debug, Args)]
pub struct ProvisionArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Show what would be created, with its price, and create nothing
    #[arg(long)]
    plan: bool,
}

/// Runs the command.
pub fn run(args: &ProvisionArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let provision = provision::prepare(&context, &Request { targets: targets::expand(&args.targets)? })?;
    let plans: Vec<ProviderPlan<'_>> =
        provision.plans().map(|(provider, plan)| ProviderPlan { provider, plan }).collect();
    let nothing = plans.iter().all(|part| part.plan.is_empty());
    if args.plan {
        if ui.json {
            ui.result_json(&plans);
        } else {
            all_words(&plans).iter().for_each(|line| ui.result(line));
        }
        return Ok(if nothing { ExitCode::SUCCESS } else { ExitCode::from(SOMETHING_TO_DO) });
    }
    if !ui.json {
        all_words(&plans).iter().for_each(|line| ui.story(line));
    }
    let end = provision.run()?;
    tell(&end, ui);
    let silent = end.servers.iter().any(|server| !server.answers);
    let failed = silent || !end.failed.is_empty();
    Ok(if failed { ExitCode::from(Kind::Failed.code()) } else { ExitCode::SUCCESS })
}

/// The plan of one provider.
#[derive(Serialize)]
struct ProviderPlan<'a> {
    provider: &'static str,
    #[serde(flatten)]
    plan: &'a Plan,
}

/// Returns the plans for a person, under the names of their providers if there are several.
fn all_words(plans: &[ProviderPlan<'_>]) -> Vec<String> {
    let several = plans.len() > 1;
    let of_one = |part: &ProviderPlan<'_>| {
        let title = several.then(|| format!("{}:", part.provider));
        title.into_iter().chain(words(part.plan)).collect::<Vec<_>>()
    };
    plans.iter().flat_map(of_one).collect()
}

/// Returns the plan for a person, a change a line.
fn words(plan: &Plan) -> Vec<String> {
    let names = plan.servers.iter().map(|change| change.server.name.len());
    let width = names.chain(plan.shared.iter().map(|change| change.name.len())).max().unwrap_or_default();
    let mut lines = Vec::new();
    for change in &plan.shared {
        let detail = if change.detail.is_empty() { String::new() } else { format!("  {}", change.detail) };
        lines.push(format!("{:7} {:15} {:width$}{detail}", change.verb, change.kind, change.name));
    }
    for change in &plan.servers {
        let server = &change.server;
        let place = format!("{} {} {}", server.server_type, server.location, server.image);
        let price = price(change.price, &plan.currency);
        let verb = match change.steps.as_slice() {
            [] => "keep",
            [Step::Create, ..] => "create",
            _ => "update",
        };
        let ip = server.ip.map(|ip| format!("{ip}  ")).unwrap_or_default();
        lines.push(format!("{verb:7} {:15} {:width$}  {place}  {ip}{price}", "server", server.name));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    let count = plan.servers.len();
    let things = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    let after = price(plan.after, &plan.currency);
    lines.push(format!("{things}: {after} without tax; now {:.2} {} a month", plan.before.monthly, plan.currency));
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn price(price: Price, currency: &str) -> String {
    format!("{:.4} {currency} an hour, at most {:.2} a month", price.hourly, price.monthly)
}

fn tell(end: &Provisioned, ui: Ui) {
    if ui.json {
        return ui.result_json(end);
    }
    for server in &end.servers {
        let state = if server.answers { "answers with its host key" } else { "does not answer yet" };
        ui.result(&format!("{} has the address {}, and {state}", server.node, server.address));
    }
    for Incomplete { node, failure } in &end.failed {
        ui.story(&format!("{}:", ui.paint(Tone::Strong, node.as_str())));
        ui.failure(failure);
    }
    let bare = end.servers.iter().filter(|server| server.answers && !server.installed);
    let bare: Vec<&str> = bare.map(|server| server.node.as_str()).collect();
    if !bare.is_empty() {
        ui.story(&format!("next: `machinist install {}`", bare.join(" ")));
    }
}
