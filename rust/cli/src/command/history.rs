//! `machinist history`.

use std::process::ExitCode;

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::history;
use machinist_rollout::journal::Record;

use crate::{args::Global, context, failure::Outcome, ui::Ui};

/// Lists the runs of this directory, the newest last.
#[derive(Debug, Args)]
pub struct HistoryArgs {}

/// Runs the command.
pub fn run(_args: &HistoryArgs, global: &Global, ui: Ui) -> Outcome {
    let records = history::run(&context::open(global, ui)?)?;
    if ui.json {
        let run = |record: &Record| serde_json::json!({ "outcome": record.outcome(), "record": record });
        let runs: Vec<_> = records.runs.iter().map(run).collect();
        ui.result_json(&serde_json::json!({ "runs": runs, "unreadable": records.unreadable }));
    } else if records.runs.is_empty() {
        ui.result("nothing was deployed from this directory yet");
    } else {
        let cells = |record: &Record| {
            let nodes: Vec<&str> = record.systems.keys().map(NodeName::as_str).collect();
            let began = record.began.split('.').next().unwrap_or_default().replace('T', " ");
            vec![record.run.clone(), began, record.who.clone(), nodes.join(" "), record.outcome().to_owned()]
        };
        ui.result_table(&["RUN", "BEGAN (UTC)", "WHO", "NODES", "OUTCOME"], records.runs.iter().map(cells).collect());
    }
    Ok(ExitCode::SUCCESS)
}
