//! The runs of a directory, as their journals record them.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_rollout::journal::{Record, Records};

use crate::{
    failure::{Failure, Kind, OrFail as _},
    project::Project,
    ui::Ui,
};

/// Reads all records, and warns of those that cannot be read.
pub fn read(project: &Project, ui: Ui) -> Result<Records, Failure> {
    let records = Records::read(&project.local().join("runs")).failed()?;
    for path in &records.unreadable {
        ui.warn(&format!("the journal of a run cannot be read; it is kept as {}", path.display()));
    }
    Ok(records)
}

/// Returns the record of a run.
pub fn find(records: Records, wanted: &str) -> Result<Record, Failure> {
    let found = records.runs.into_iter().find(|record| record.run == wanted);
    found.ok_or_else(|| {
        Failure::new(Kind::Input, format!("there is no run `{wanted}`")).hint("`machinist history` lists the runs")
    })
}

/// Returns the run that shall go on: the wanted one, or the last if that was cut off. Older ones were overtaken.
pub fn unfinished(project: &Project, wanted: &str, ui: Ui) -> Result<Option<Record>, Failure> {
    let mut records = read(project, ui)?;
    let record = if wanted.is_empty() { records.runs.pop() } else { Some(find(records, wanted)?) };
    match record {
        Some(record) if !record.ended => Ok(Some(record)),
        Some(record) if !wanted.is_empty() => {
            let message =
                format!("run {} came to its end ({}): there is nothing to resume", record.run, record.outcome());
            Err(Failure::new(Kind::Input, message).hint("`machinist deploy` begins a new one"))
        }
        _ => {
            if ui.json {
                ui.result_json(&serde_json::json!({ "resumed": null }));
            } else {
                ui.result("the last run came to its end: there is nothing to resume");
            }
            Ok(None)
        }
    }
}

/// Refuses to go on with a run whose systems are others now.
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
