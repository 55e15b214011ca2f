//! `machinist build`.

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::Args;
use machinist_operations::build::{self, Node, Output, Report, Request};

use crate::{
    args::{EvaluationArgs, Global, targets},
    context,
    failure::{Failure, Kind, Outcome, exit_code},
    signals,
    ui::{Tone, Ui, indent},
};

/// Builds the targets' systems without touching a host.
#[derive(Debug, Args)]
pub struct BuildSystemsArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Link to each system from this directory, as DIR/<node>; the links protect the systems from garbage collection
    #[arg(long, value_name = "DIR")]
    out_link: Option<PathBuf>,

    /// How
    #[command(flatten)]
    evaluation: EvaluationArgs,
}

/// Runs the command.
pub fn run(args: &BuildSystemsArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let ended = signals::end_on(context.interrupt.clone());
    let (no_cache, eval_workers): (bool, Option<NonZeroUsize>) = args.evaluation.values();
    let request =
        Request { targets: targets::expand(&args.targets)?, no_cache, eval_workers, out_link: args.out_link.clone() };
    let report = match build::run(&context, &request) {
        Ok(report) => report,
        Err(_) if ended.code().is_some() => {
            ui.story("interrupted: nothing was built to its end that is not in the store, and no host was touched");
            return Ok(ExitCode::from(ended.code().unwrap_or_default()));
        }
        Err(failure) => return Err(failure),
    };
    if ui.json {
        ui.result_json(&report);
    } else {
        show(&report, ui);
    }
    Ok(exit_code(kind(&report)))
}

fn show(report: &Report, ui: Ui) {
    let width = report.nodes.keys().map(|name| name.as_str().len()).max().unwrap_or_default();
    for (name, node) in &report.nodes {
        let (state, rest) = match node {
            Node::Built(output) => (ui.paint(Tone::Good, "built "), path(output)),
            Node::Cached(output) => (ui.paint(Tone::Good, "cached"), path(output)),
            Node::Failed(failure) => (ui.paint(Tone::Bad, "failed"), summary(&failure.message).to_owned()),
        };
        ui.result(&format!("{} {state} {rest}", ui.paint(Tone::Strong, &format!("{name:<width$}"))));
    }
    for (names, failure) in grouped(report) {
        ui.story(&format!("{} {}", ui.paint(Tone::Strong, &names.join(", ")), indent(&failure.in_one_line(), "  ")));
        for hint in &failure.hints {
            ui.story(&format!("  {} {}", ui.paint(Tone::Strong, "hint:"), indent(hint, "    ")));
        }
    }
}

/// Returns the kind of failure: a refusal only if nothing was built and nothing else failed.
fn kind(report: &Report) -> Option<Kind> {
    let mut failures = report.failed().map(|(_, failure)| failure.kind).peekable();
    failures.peek()?;
    let refused = failures.all(|kind| kind == Kind::Refused) && report.failed().count() == report.nodes.len();
    Some(if refused { Kind::Refused } else { Kind::Failed })
}

/// Returns each failure once, with the nodes that it affects.
fn grouped(report: &Report) -> Vec<(Vec<&str>, &Failure)> {
    let mut groups: Vec<(Vec<&str>, &Failure)> = Vec::new();
    for (name, failure) in report.failed() {
        match groups.iter_mut().find(|(_, known)| known.message == failure.message) {
            Some((names, _)) => names.push(name.as_str()),
            None => groups.push((vec![name.as_str()], failure)),
        }
    }
    groups
}

/// Returns the line that names the failure: newer versions of nix print where it happened before.
fn summary(message: &str) -> &str {
    let mut errors = message.lines().filter_map(|line| line.trim().strip_prefix("error: "));
    let line = errors.next_back().or_else(|| message.lines().find(|line| !line.trim().is_empty())).unwrap_or_default();
    line.trim().trim_end_matches([';', '.'])
}

fn path(output: &Output) -> String {
    output.system.system.to_string()
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn a_failure_is_summed_up_by_the_error_and_not_by_its_trace() {
        assert_eq!(
            summary("builder for 'x' failed with exit code 3;\n> one"),
            "builder for 'x' failed with exit code 3"
        );
        assert_eq!(summary("\n       … while calling\n       error: no disk\n"), "no disk");
        assert_eq!(summary(""), "");
    }
}
