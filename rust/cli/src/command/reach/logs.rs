//! `machinist logs`.

use std::process::ExitCode;

use clap::Args;
use machinist_operations::reach::logs::{self, Request};

use super::view;
use crate::{
    args::{Global, UnreachableArg, targets},
    context,
    failure::{Kind, Outcome, exit_code},
    signals,
    ui::Ui,
};

/// Past entries of each machine without another word.
const LINES: u32 = 100;

/// The same with a beginning: a bound for what this computer holds.
const LINES_SINCE: u32 = 100_000;

/// Shows the journals of machines, merged by time.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Names, globs, `@role`, `label=value`, or `-` for those on standard input; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Only this unit, or units of this pattern; may be repeated
    #[arg(long, short, value_name = "UNIT")]
    unit: Vec<String>,

    /// Wait for new entries
    #[arg(long, short)]
    follow: bool,

    /// Number of past entries of each machine [default: 100; with --since 100000]
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<u32>,

    /// Since when, as in systemd.time(7): `-1h`, `today`, `2026-11-30 12:00`
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,

    /// Only messages that match this regular expression
    #[arg(long, value_name = "PATTERN")]
    grep: Option<String>,

    /// What machines mean that do not answer
    #[arg(long, value_name = "HOW", value_enum, default_value_t = UnreachableArg::Fail)]
    handle_unreachable: UnreachableArg,
}

/// Runs the command.
pub fn run(args: &LogsArgs, global: &Global, ui: Ui) -> Outcome {
    let default = if args.since.is_some() { LINES_SINCE } else { LINES };
    let request = Request {
        targets: targets::expand(&args.targets)?,
        units: args.unit.clone(),
        since: args.since.clone(),
        lines: args.lines.unwrap_or(default),
        grep: args.grep.clone(),
        follow: args.follow,
        unreachable: args.handle_unreachable.into(),
    };
    let context = view::with_lines(context::open(global, ui)?, ui);
    let ended = signals::end_on(context.interrupt.clone());
    let done = logs::run(&context, &request)?;
    // Those of followed journals were reported when they were lost, except for machines that were never reached.
    let untold = done.missing.iter().filter(|gap| !args.follow || gap.missing.unreachable);
    untold.for_each(|gap| view::missing(&gap.node, &gap.missing, ui));
    if done.entries == 0 && done.missing.is_empty() && !ui.json {
        ui.story("no entries");
    }
    if ui.json {
        ui.result_json_line(&done);
    }
    Ok(match ended.code() {
        Some(code) => ExitCode::from(code),
        None => exit_code((!done.is_complete()).then_some(Kind::Failed)),
    })
}
