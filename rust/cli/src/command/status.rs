//! `machinist status`.

use std::process::ExitCode;

use clap::Args;
use machinist_nix::StorePath;
use machinist_operations::status::{self, Answer, Member, Node, Request};
use machinist_rollout::expiry;

use crate::{
    args::Global,
    context,
    failure::{Kind, Outcome},
    ui::{Tone, Ui},
};

/// Reports the health of every node and of the cluster.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Runs the command.
pub fn run(args: &StatusArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let status = status::run(&context, &Request { targets: args.targets.clone() })?;
    if ui.json {
        ui.result_json(&status);
    } else {
        table(&status.nodes, ui);
        for member in &status.unmanaged_etcd_members {
            ui.warn(&format!("etcd has a member that machines.nix does not know: {member}"));
        }
        if let Some(alarm) = &status.etcd_alarm {
            ui.warn(&format!("{alarm}; `machinist etcd status` explains it"));
        }
        warn_of_boots(&status.nodes, ui);
        warn_of_expiry(&status.nodes, ui);
        explain_silence(&status.nodes, ui);
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

fn host(answer: &Answer, ui: Ui) -> String {
    match answer {
        Answer::Silent { .. } => ui.paint(Tone::Bad, "no answer"),
        Answer::Answers { facts } if facts.running.is_none() => ui.paint(Tone::Careful, "never deployed"),
        Answer::Answers { facts } if !facts.failed.is_empty() => {
            let units: Vec<&str> = facts.failed.iter().map(String::as_str).collect();
            ui.paint(Tone::Bad, &format!("failed: {}", units.join(", ")))
        }
        Answer::Answers { facts } if !facts.restarting.is_empty() => {
            let units: Vec<&str> = facts.restarting.iter().map(String::as_str).collect();
            ui.paint(Tone::Bad, &format!("restarting after failures: {}", units.join(", ")))
        }
        Answer::Answers { .. } => ui.paint(Tone::Good, "up"),
    }
}

fn system(answer: &Answer) -> String {
    let Answer::Answers { facts } = answer else { return "-".to_owned() };
    let Some(running) = &facts.running else { return "-".to_owned() };
    // A prefix of the hash is enough to distinguish systems in a table.
    let prefix =
        |system: &StorePath| system.as_str().trim_start_matches("/nix/store/").chars().take(8).collect::<String>();
    let short = prefix(running);
    match &facts.profile {
        Some(profile) if profile == running => short,
        Some(profile) => format!("{short} ({} boots next)", prefix(profile)),
        None => format!("{short} (nothing of ours boots next)"),
    }
}

/// Reports systems that are not confirmed yet, and changes that wait for a reboot.
fn warn_of_boots(nodes: &[Node], ui: Ui) {
    for node in nodes {
        let name = ui.paint(Tone::Strong, node.node.as_str());
        if let Some(system) = &node.on_trial {
            ui.warn(&format!("{name} runs {system} on trial: it was booted once and not confirmed; a deploy finishes that, a reboot leaves it"));
        }
        if !node.reboot_due.is_empty() {
            ui.warn(&format!(
                "{name} needs a reboot for {}: `machinist deploy --reboot auto` does that",
                node.reboot_due.join(", ")
            ));
        }
    }
}

fn etcd(member: Option<&Member>, ui: Ui) -> String {
    match member {
        None => "-".to_owned(),
        Some(member) if member.healthy => {
            let version = member.version.as_deref().unwrap_or("?");
            let leader = if member.leader { ", leader" } else { "" };
            ui.paint(Tone::Good, &format!("healthy, {version}{leader}"))
        }
        Some(member) => ui.paint(Tone::Bad, &member.problems.join(", ")),
    }
}

fn table(nodes: &[Node], ui: Ui) {
    let cells = |node: &Node| {
        let roles: Vec<&str> = node.roles.iter().map(|role| role.as_str()).collect();
        vec![
            node.node.to_string(),
            node.ip.to_string(),
            roles.join(" "),
            host(&node.answer, ui),
            system(&node.answer),
            etcd(node.etcd.as_ref(), ui),
        ]
    };
    ui.result_table(&["NODE", "ADDRESS", "ROLES", "HOST", "SYSTEM", "ETCD"], nodes.iter().map(cells).collect());
}

/// Reports certificates that expire soon, as found by the nodes' own daily check.
fn warn_of_expiry(nodes: &[Node], ui: Ui) {
    let mut found = false;
    for node in nodes {
        let Answer::Answers { facts } = &node.answer else { continue };
        for text in expiry::expiring(facts) {
            found = true;
            ui.warn(&format!("{} {text}", ui.paint(Tone::Strong, node.node.as_str())));
        }
    }
    if found {
        ui.story(&format!("  {} {}", ui.paint(Tone::Strong, "hint:"), expiry::HINT));
    }
}

fn explain_silence(nodes: &[Node], ui: Ui) {
    for node in nodes {
        if let Answer::Silent { why, hint } = &node.answer {
            ui.story(&format!("{} {why}", ui.paint(Tone::Strong, node.node.as_str())));
            if let Some(hint) = hint {
                ui.story(&format!("  {} {hint}", ui.paint(Tone::Strong, "hint:")));
            }
        }
    }
}
