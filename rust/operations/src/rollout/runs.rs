//! Interrupted runs.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_rollout::journal::Record;

use crate::{
    context::Context,
    failure::{Failure, Kind},
    history,
};

/// Returns the run to resume: the requested one, or the last one if it was interrupted. Older runs are superseded.
///
/// # Errors
/// There is no such run, or it is complete.
pub fn unfinished(context: &Context, wanted: &str) -> Result<Option<Record>, Failure> {
    let mut records = history::run(context)?;
    let record = if wanted.is_empty() { records.runs.pop() } else { Some(history::find(records, wanted)?) };
    match record {
        Some(record) if !record.ended => Ok(Some(record)),
        Some(record) if !wanted.is_empty() => {
            let message =
                format!("run {} came to its end ({}): there is nothing to resume", record.run, record.outcome());
            Err(Failure::new(Kind::Input, message).hint("`machinist deploy` begins a new one"))
        }
        _ => Ok(None),
    }
}

/// Refuses to resume a run whose systems have changed.
///
/// # Errors
/// The systems have changed.
pub fn refuse_changed(record: &Record, systems: &BTreeMap<NodeName, StorePath>) -> Result<(), Failure> {
    let changed = record.changed(systems);
    if changed.is_empty() {
        return Ok(());
    }
    let words = |(node, then, now): &(&NodeName, &str, &str)| format!("\n{node}: {then}\n  now {now}");
    let list: String = changed.iter().map(words).collect();
    let message =
        format!("the configuration has changed since run {} began, so it would not be that run:{list}", record.run);
    Err(Failure::new(Kind::Refused, message)
        .hint("`machinist deploy` brings what the directory says now; what is half done reverts or is done anew"))
}
