//! `machinist unlock`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::unlock::{self, Found, Lock, LockState, Request};
use machinist_rollout::lock::Holder;

use crate::{
    args::{Global, targets},
    consent, context,
    failure::{Kind, Outcome},
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

/// Runs the command.
pub fn run(args: &UnlockArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let found = unlock::find(&context, &Request { targets: targets::expand(&args.targets)? })?;
    tell(&found, ui);
    let count = found.locks.len();
    if count > 0 {
        let question = format!("take {count} locks from their holders? [y/N]");
        let nobody = format!("{count} locks would be taken from their holders");
        consent::ask(&question, consent::YES, &nobody, global)?;
    }
    for lock in &found.locks {
        found.take(&context, lock)?;
        if !ui.json {
            ui.result(&format!("{} is unlocked", lock.state.node));
        }
    }
    if ui.json {
        let states: Vec<&LockState> = found.locks.iter().map(|lock| &lock.state).collect();
        ui.result_json(&serde_json::json!({ "unlocked": states }));
    }
    Ok(if found.silent > 0 { ExitCode::from(Kind::Failed.code()) } else { ExitCode::SUCCESS })
}

/// Describes a result without locks. A node that did not answer may be locked.
fn no_lock(count: usize, silent: usize) -> String {
    match (count - silent, silent) {
        (_, 0) => "no node is locked".to_owned(),
        (0, _) => "no node could be reached: whether one is locked is unknown".to_owned(),
        (answered, _) => {
            format!("no lock on the {answered} of {count} nodes that answered; the others may be locked")
        }
    }
}

/// Reports the locks that were found.
fn tell(found: &Found, ui: Ui) {
    if found.locks.is_empty() && !ui.json {
        ui.result(&no_lock(found.asked, found.silent));
    }
    for Lock { state, .. } in &found.locks {
        let LockState { node, holder, left, abandoned, activations } = state;
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
