//! `machinist drift`.

use std::{collections::BTreeSet, process::ExitCode};

use clap::Args;
use machinist_operations::drift::{self, Node, Report, Request};
use machinist_rollout::drift::Finding;

use crate::{
    args::{Global, targets},
    context,
    failure::{Kind, Outcome, SOMETHING_TO_DO},
    ui::{Tone, Ui},
};

/// Compares the machines with the last deploy and with the directory.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Compare only with the last deploy; do not build the directory's systems
    #[arg(long)]
    recorded: bool,
}

/// Runs the command.
pub fn run(args: &DriftArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let request = Request { targets: targets::expand(&args.targets)?, recorded: args.recorded };
    let report = drift::run(&context, &request)?;
    if ui.json {
        ui.result_json(&report);
    } else {
        tell(&report, ui);
    }
    Ok(ExitCode::from(match (report.is_partial(), report.has_drift()) {
        (true, _) => Kind::Failed.code(),
        (false, true) => SOMETHING_TO_DO,
        (false, false) => 0,
    }))
}

fn tell(report: &Report, ui: Ui) {
    for (name, node) in &report.nodes {
        let name = ui.paint(Tone::Strong, name.as_str());
        match node {
            Node::Silent { why, hint } => {
                ui.result(&format!("{name} {} {why}", ui.paint(Tone::Bad, "could not be asked:")));
                tell_hint(hint.as_deref(), ui);
            }
            Node::Answers(drift) if drift.findings.is_empty() => {
                ui.result(&format!("{name} {}", ui.paint(Tone::Good, "no drift")));
            }
            Node::Answers(drift) => {
                ui.result(&name);
                for Finding { text, .. } in &drift.findings {
                    ui.result(&format!("  {}", ui.paint(Tone::Careful, text)));
                }
                // Many findings share a hint, which is printed once.
                let hints: BTreeSet<&str> = drift.findings.iter().filter_map(|f| f.hint).collect();
                hints.into_iter().for_each(|hint| tell_hint(Some(hint), ui));
            }
        }
    }
    for member in &report.unmanaged_etcd_members {
        ui.result(&ui.paint(Tone::Careful, &format!("etcd has a member that machines.nix does not know: {member}")));
        tell_hint(Some("it votes: `machinist-etcdctl member list` on a member, then `member remove`"), ui);
    }
}

fn tell_hint(hint: Option<&str>, ui: Ui) {
    if let Some(hint) = hint {
        ui.result(&format!("  {} {hint}", ui.paint(Tone::Strong, "hint:")));
    }
}
