//! `machinist plan`.

pub(super) mod render;

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use machinist_operations::{
    output,
    plan::{self, Report, Request},
};

use crate::{
    args::{BuildArgs, Global, SpreadArgs, targets},
    context,
    failure::{Kind, OrFail as _, Outcome, SOMETHING_TO_DO},
    ui::Ui,
};

/// Shows the changes of a deploy without making them.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Write the plan to this file: `machinist deploy --plan FILE` deploys exactly that, or refuses
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// How
    #[command(flatten)]
    spread: SpreadArgs,

    /// From what
    #[command(flatten)]
    building: BuildArgs,
}

/// Runs the command.
pub fn run(args: &PlanArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let request = Request {
        targets: targets::expand(&args.targets)?,
        spread: args.spread.spread(),
        building: args.building.building(),
    };
    let report = plan::run(&context, &request)?;
    let file = args.out.as_ref().map(|out| (out, plan::file(&context, &request.spread, &report)));
    if ui.json {
        ui.result_json(&report);
    } else {
        ui.result(render::report(&report, ui).trim_end());
    }
    if let Some((out, text)) = file {
        output::write(out, text?.as_bytes(), 0o644).failed()?;
    }
    Ok(ExitCode::from(exit_code(&report)))
}

fn exit_code(report: &Report) -> u8 {
    match (report.plan.is_partial(), report.has_changes()) {
        (true, _) => Kind::Failed.code(),
        (false, true) => SOMETHING_TO_DO,
        (false, false) => 0,
    }
}
