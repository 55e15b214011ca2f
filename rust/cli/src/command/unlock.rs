//! `machinist unlock`: whose lock it is, since when, what the node does; then it is taken.

use std::process::ExitCode;

use clap::Args;
use machinist_model::NodeName;
use machinist_rollout::{
    HostFacts,
    lock::{self, Claimant, Decision, Holder, break_lock},
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    args::Global,
    connect, consent,
    failure::{self, Failure, Kind, Outcome},
    project::Project,
    query,
    run_id::run_id,
    signals,
    ui::{Tone, Ui},
};

/// Takes the locks of a deploy that was left behind.
///
/// An activation that was started under such a lock goes back to the system before.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// A lock that was found.
#[derive(Serialize)]
struct Found {
    node: NodeName,
    holder: Holder,
    /// Seconds until it expires.
    left: u64,
    /// Whether the holder is known to have ended, or the lock has expired.
    abandoned: bool,
    /// Units that activate a system now.
    activations: Vec<String>,
}

/// Runs the command.
pub fn run(args: &UnlockArgs, global: &Global, ui: Ui) -> Outcome {
    let project = Project::open(global, ui)?;
    let cluster = project.load()?.cluster;
    let patterns = (!args.targets.is_empty()).then_some(args.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let connector = connect::connector(&project, &cluster, global, None)?;
    let (mut found, mut silent) = (Vec::new(), 0);
    let mut open = Vec::new();
    let count = nodes.len();
    for (node, asked) in query::nodes(&nodes, &connector)? {
        match asked {
            Err(error) => {
                silent += 1;
                ui.warn(&format!("{node}: {}", failure::words(&node, &error)));
            }
            Ok((remote, facts)) => {
                if let Some(lock) = describe(&node, &facts) {
                    found.push(lock);
                    open.push((node, remote, facts));
                }
            }
        }
    }
    tell(&found, count, silent, ui);
    if !found.is_empty() {
        let count = found.len();
        let question = format!("take {count} locks from their holders? [y/N]");
        let nobody = format!("{count} locks would be taken from their holders");
        consent::ask(&question, consent::YES, &nobody, global)?;
    }
    let since = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let claimant = Claimant { run: run_id(), who: signals::who(), process: lock::this_process(), since };
    for (node, remote, facts) in &open {
        break_lock(&**remote, &facts.lock, &claimant)
            .map_err(|error| Failure::on(node, Kind::Failed, &error).maybe_hint(error.hint()))?;
        if !ui.json {
            ui.result(&format!("{node} is unlocked"));
        }
    }
    if ui.json {
        ui.result_json(&serde_json::json!({ "unlocked": found }));
    }
    Ok(if silent > 0 { ExitCode::from(Kind::Failed.code()) } else { ExitCode::SUCCESS })
}

/// A node that gave no answer may be locked.
fn no_lock(count: usize, silent: usize) -> String {
    match (count - silent, silent) {
        (_, 0) => "no node is locked".to_owned(),
        (0, _) => "no node could be reached: whether one is locked is unknown".to_owned(),
        (answered, _) => {
            format!("no lock on the {answered} of {count} nodes that answered; the others may be locked")
        }
    }
}

fn describe(node: &NodeName, facts: &HostFacts) -> Option<Found> {
    let holder = facts.lock.holder.clone()?;
    let moment = lock::moment(facts, &facts.lock);
    let left = holder.left(&moment);
    let idle = lock::Moment { activating: false, ..moment };
    let abandoned = matches!(lock::decide(&facts.lock, "", &idle), Decision::TakeOver { .. });
    let activations = facts.activations.iter().cloned().collect();
    Some(Found { node: node.clone(), holder, left, abandoned, activations })
}

/// Reports the locks that were found on the `count` nodes, `silent` of which gave no answer.
fn tell(found: &[Found], count: usize, silent: usize, ui: Ui) {
    if found.is_empty() && !ui.json {
        ui.result(&no_lock(count, silent));
    }
    for Found { node, holder, left, abandoned, activations } in found {
        let state = if *abandoned {
            "its run has ended or the lock has expired".to_owned()
        } else {
            format!("its run seems to go on; the lock expires in {left} s unless it is renewed")
        };
        let Holder { who, since, run, .. } = holder;
        ui.story(&format!(
            "{} is locked by {who} since {since} (run {run}): {state}",
            ui.paint(Tone::Strong, node.as_str())
        ));
        match activations.first() {
            Some(unit) => {
                ui.story(&format!("  it is activating a system ({unit}), and will go back to the one before"))
            }
            None => ui.story("  no system is being activated there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::no_lock;

    #[test]
    fn a_node_that_gave_no_answer_is_not_called_unlocked() {
        assert_eq!(no_lock(3, 0), "no node is locked");
        assert_eq!(no_lock(3, 3), "no node could be reached: whether one is locked is unknown");
        assert_eq!(no_lock(3, 1), "no lock on the 2 of 3 nodes that answered; the others may be locked");
    }
}
