//! `machinist upgrade`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::{
    plan,
    systems::Building,
    upgrade::{self, Report, Request, Upgraded},
};
use machinist_rollout::software::{Component, Software};

use super::plan::render;
use crate::{
    args::{EvaluationArgs, Global, RolloutArgs},
    context,
    failure::{Kind, Outcome, SOMETHING_TO_DO, exit_code},
    ui::{Tone, Ui},
};

/// Changes the pin of nixpkgs, and deploys the new systems in stages that etcd and Kubernetes allow.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The new nixpkgs: a release such as 26.05, a revision, a path or a flake reference [default: continue the upgrade that
    /// is under way]
    #[arg(long, value_name = "RELEASE|REV|FLAKE", required_unless_present_any = ["continue", "abort"])]
    to: Option<String>,

    /// Continue the upgrade that is under way
    #[arg(long, conflicts_with_all = ["to", "abort"])]
    r#continue: bool,

    /// Show the versions, the stages and what cannot be rolled back, and change nothing
    #[arg(long)]
    plan: bool,

    /// Write flake.lock as it was before the upgrade that is under way
    #[arg(long, conflicts_with_all = ["to", "plan"])]
    abort: bool,

    /// How
    #[command(flatten)]
    rollout: RolloutArgs,

    /// From what
    #[command(flatten)]
    evaluation: EvaluationArgs,
}

/// Runs the command.
pub fn run(args: &UpgradeArgs, global: &Global, ui: Ui) -> Outcome {
    let options = args.rollout.options();
    let context = context::of_rollout("upgrade", options.reboots, global, ui)?;
    if args.abort {
        let to = upgrade::abort(&context)?;
        let text = format!("the upgrade to {to} is aborted: flake.lock is as before, and no node was changed now");
        if ui.json {
            ui.result_json(&serde_json::json!({ "aborted": to }))
        } else {
            ui.result(&text)
        }
        ui.story("`machinist plan` shows what differs from it on the nodes");
        return Ok(exit_code(None));
    }
    let (no_cache, eval_workers) = args.evaluation.values();
    let building = Building { no_cache, eval_workers, ..Building::default() };
    let request = Request { to: args.to.clone(), options, building };
    if args.plan {
        return Ok(show(upgrade::plan(&context, &request)?, ui));
    }
    match upgrade::run(&context, &request)? {
        Upgraded::Done { to, .. } => {
            ui.story(&format!("the upgrade to {to} is done. Commit flake.lock, generated/ and state/"));
            Ok(exit_code(None))
        }
        Upgraded::NotDone { kind, .. } => {
            ui.story("the upgrade stopped: `machinist upgrade --continue` continues it");
            ui.story(
                "until a member of etcd may run a new minor version, `machinist upgrade --abort` restores flake.lock",
            );
            Ok(exit_code(Some(kind)))
        }
    }
}

/// Prints the report.
fn show(report: Report, ui: Ui) -> ExitCode {
    let code = match (report.refusals.is_empty(), report.plan.is_partial(), report.has_changes()) {
        (false, ..) => Kind::Refused.code(),
        (true, true, _) => Kind::Failed.code(),
        (true, false, true) => SOMETHING_TO_DO,
        (true, false, false) => 0,
    };
    if ui.json {
        ui.result_json(&report);
    } else {
        ui.result(text(report, ui).trim_end());
    }
    ExitCode::from(code)
}

fn text(report: Report, ui: Ui) -> String {
    let strong = |text: &str| ui.paint(Tone::Strong, text);
    let mut lines = vec![format!("{} {} -> {}", strong("nixpkgs"), report.from, report.to)];
    lines.extend(report.nodes.iter().map(|(node, all)| format!("{} {}", strong(node.as_str()), versions(all))));
    lines.push(String::new());
    let of = report.stages.len();
    lines.extend((1..).zip(&report.stages).map(|(number, stage)| format!("stage {number} of {of}: {stage}")));
    let mark = |lines: &mut Vec<String>, word: &str, tone: Tone, texts: &[String]| {
        lines.extend(texts.iter().map(|text| format!("{} {text}", ui.paint(tone, word))));
    };
    mark(&mut lines, "careful:", Tone::Careful, &report.cautions);
    mark(&mut lines, "cannot be rolled back:", Tone::Careful, &report.permanent);
    mark(&mut lines, "refused:", Tone::Bad, &report.refusals);
    lines.extend([String::new(), strong("stage 1")]);
    let plan = plan::Report::of(report.cluster, report.plan);
    lines.push(render::report(&plan, ui));
    lines.join("\n")
}

/// Returns the versions of a node that change, such as `etcd 3.5.16 -> 3.5.31 -> 3.6.12`.
fn versions(all: &[Software]) -> String {
    let components = [Component::Nixos, Component::Etcd, Component::Kubernetes, Component::Kernel, Component::Systemd];
    let change = |component: Component| {
        let mut steps: Vec<&str> =
            all.iter().map(|software| software.get(&component).map_or("-", String::as_str)).collect();
        steps.dedup();
        (steps.len() > 1).then(|| format!("{component} {}", steps.join(" -> ")))
    };
    let changes: Vec<String> = components.into_iter().filter_map(change).collect();
    if changes.is_empty() { "the same versions".to_owned() } else { changes.join(", ") }
}

#[cfg(test)]
mod tests {
    use machinist_rollout::software::{Component, Software};

    use super::versions;

    fn software(etcd: &str, kernel: &str) -> Software {
        [(Component::Etcd, etcd), (Component::Kernel, kernel)]
            .into_iter()
            .filter(|(_, version)| !version.is_empty())
            .map(|(component, version)| (component, version.to_owned()))
            .collect()
    }

    #[test]
    fn versions_that_change_are_shown_with_their_steps() {
        let of = |steps: &[(&str, &str)]| {
            versions(&steps.iter().map(|(etcd, kernel)| software(etcd, kernel)).collect::<Vec<_>>())
        };
        let stages = [("3.5.16", "6.12"), ("3.5.31", "6.18"), ("3.6.12", "6.18")];
        assert_eq!(of(&stages), "etcd 3.5.16 -> 3.5.31 -> 3.6.12, kernel 6.12 -> 6.18");
        assert_eq!(of(&[("3.6.12", "6.18"), ("3.6.12", "6.18")]), "the same versions");
        assert_eq!(of(&[("", "6.12"), ("3.6.12", "6.12")]), "etcd - -> 3.6.12");
    }
}
