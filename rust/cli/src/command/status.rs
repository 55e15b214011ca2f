//! `machinist status`.

use std::process::ExitCode;

use clap::Args;
use machinist_nix::StorePath;
use machinist_operations::status::{self, Answer, Member, Node, Request, Verdict};
use machinist_rollout::expiry;

use crate::{
    args::{Global, targets},
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
    let status = status::run(&context, &Request { targets: targets::expand(&args.targets)? })?;
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
        for node in &status.nodes {
            let name = ui.paint(Tone::Strong, node.node.as_str());
            boot_warnings(node).iter().for_each(|text| ui.warn(&format!("{name} {text}")));
        }
        warn_of_expiry(&status.nodes, ui);
        explain_silence(&status.nodes, ui);
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::from(Kind::Failed.code()) })
}

fn host(answer: &Answer, ui: Ui) -> String {
    let (verdict, words) = answer.verdict();
    let tone = match verdict {
        Verdict::Good => Tone::Good,
        Verdict::Careful => Tone::Careful,
        Verdict::Bad => Tone::Bad,
    };
    ui.paint(tone, &words)
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

/// Returns warnings of systems that are not confirmed yet, and of changes that wait for a reboot.
fn boot_warnings(node: &Node) -> Vec<String> {
    let trial = node.on_trial.as_ref().map(|system| {
        format!(
            "runs {system} on trial: it was booted once and not confirmed; a deploy finishes that, a reboot leaves it"
        )
    });
    let due = (!node.reboot_due.is_empty()).then(|| {
        format!("needs a reboot for {}: `machinist deploy --reboot auto` does that", node.reboot_due.join(", "))
    });
    trial.into_iter().chain(due).collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;
    use machinist_nix::StorePath;
    use machinist_operations::status::{Answer, Node};
    use machinist_rollout::HostFacts;

    use super::{boot_warnings, system};

    fn path(letter: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/{}-nixos-system", letter.repeat(32))).unwrap()
    }

    fn answer(running: &str, profile: Option<&str>) -> Answer {
        let facts = HostFacts { running: Some(path(running)), profile: profile.map(path), ..HostFacts::default() };
        Answer::Answers { facts: Box::new(facts) }
    }

    #[test]
    fn a_machine_that_boots_another_system_is_told_with_both() {
        assert_eq!(system(&answer("a", Some("a"))), "aaaaaaaa");
        assert_eq!(system(&answer("a", Some("b"))), "aaaaaaaa (bbbbbbbb boots next)");
        assert_eq!(system(&answer("a", None)), "aaaaaaaa (nothing of ours boots next)");
    }

    #[test]
    fn a_system_on_trial_and_a_due_reboot_are_warnings() {
        let mut node = Node {
            node: NodeName::parse("a").unwrap(),
            ip: "10.0.0.1".parse().unwrap(),
            roles: Vec::new(),
            answer: answer("a", Some("b")),
            etcd: None,
            reboot_due: Vec::new(),
            on_trial: None,
        };
        assert_eq!(boot_warnings(&node), Vec::<String>::new());
        (node.on_trial, node.reboot_due) = (Some(path("a")), vec!["kernel 6.12.1 -> 6.12.3".to_owned()]);
        let found = boot_warnings(&node);
        assert!(found[0].starts_with("runs /nix/store/aaaa") && found[0].contains("on trial"), "{found:?}");
        assert_eq!(found[1], "needs a reboot for kernel 6.12.1 -> 6.12.3: `machinist deploy --reboot auto` does that");
    }
}
