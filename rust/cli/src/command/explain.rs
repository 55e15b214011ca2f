//! `machinist explain CODE`.

use std::process::ExitCode;

use clap::Args;
use machinist_model::codes;

use crate::{
    failure::{Failure, Kind, Outcome},
    ui::{Tone, Ui},
};

/// Describes a check.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The check's code; without one, all are listed
    code: Option<String>,
}

/// Runs the command.
pub fn run(args: &ExplainArgs, ui: Ui) -> Outcome {
    let Some(code) = &args.code else {
        list(ui);
        return Ok(ExitCode::SUCCESS);
    };
    let Some(info) = codes::explain(&code.to_uppercase()) else {
        let failure = Failure::new(Kind::Input, format!("there is no check `{code}`"));
        return Err(failure.hint("`machinist explain` lists them"));
    };
    if ui.json {
        ui.result_json(&as_json(info));
    } else {
        ui.result(&format!(
            "{} {}\n\n{}",
            ui.paint(Tone::Strong, &info.code.to_string()),
            info.title,
            info.explanation.trim()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(info: &codes::CodeInfo) -> serde_json::Value {
    serde_json::json!({
        "code": info.code,
        "severity": info.severity,
        "title": info.title,
        "explanation": info.explanation,
    })
}

fn list(ui: Ui) {
    if ui.json {
        ui.result_json(&codes::CODES.iter().map(as_json).collect::<Vec<_>>());
        return;
    }
    for info in codes::CODES {
        ui.result(&format!("{}  {}", info.code, info.title));
    }
}
