//! `machinist router-config`: the Router's side of BGP.

use std::process::ExitCode;

use clap::Args;
use machinist_codegen::router::{self, Format};

use crate::{
    args::Global,
    failure::{Failure, Kind, Outcome},
    project::Project,
    ui::Ui,
};

/// Prints the Router's side of BGP.
#[derive(Debug, Args)]
pub struct RouterConfigArgs {
    /// The Router's language: frr, bird or vyos
    #[arg(long, default_value = "frr")]
    format: Format,
}

/// Runs the command.
pub fn run(args: &RouterConfigArgs, global: &Global, ui: Ui) -> Outcome {
    let cluster = Project::open(global, ui)?.load()?.cluster;
    let text = router::config(&cluster, args.format)
        .map_err(|error| Failure::from_error(Kind::Input, &error).hint(error.hint()))?;
    if ui.json {
        ui.result_json(&serde_json::json!({ "config": text }));
    } else {
        ui.result(text.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
