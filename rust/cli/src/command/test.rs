//! `machinist test`.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use machinist_operations::{
    acceptance::{self, Check, Outcome as Ended, Problem, Report, Request, Verdict},
    context::Context,
    provision::{self, Destroy, DestroyRequest},
};
use serde_json::json;

use super::destroy;
use crate::{
    args::{Global, targets},
    context,
    failure::{Failure, Kind, Outcome, SOMETHING_TO_DO},
    signals,
    ui::{Tone, Ui},
};

/// Tests a running cluster by its behaviour.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Names, globs, `@role`, `label=value`; all machines by default
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// Compare systems only with the last deploy, and build nothing
    #[arg(long)]
    recorded: bool,

    /// Leave out the checks that write
    #[arg(long)]
    read_only: bool,

    /// Accept certificates of the ingress that these authorities (PEM) have issued, besides those that this computer trusts
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,

    /// Destroy the whole cluster after the test, as `machinist destroy` does
    #[arg(long, conflicts_with = "targets")]
    teardown: bool,

    /// Consent to `--teardown` in advance: the name of the cluster
    #[arg(long, value_name = "CLUSTER", requires = "teardown")]
    yes_destroy: Option<String>,

    /// With `--teardown`, keep a cluster that has not passed the test
    #[arg(long, requires = "teardown")]
    keep_failed: bool,
}

/// Runs the command.
pub fn run(args: &TestArgs, global: &Global, ui: Ui) -> Outcome {
    // As for `destroy`, `--yes` is no consent to the end of a cluster.
    let strict = Global { yes: false, ..global.clone() };
    let context = context::open(&strict, ui)?;
    let destroy = args.teardown.then(|| teardown(args, &context)).transpose()?;
    // Before anything is destroyed: a wrong command line is no test.
    let targets = targets::expand(&args.targets)?;
    let ended = signals::end_on(context.interrupt.clone());
    let request = Request { targets, recorded: args.recorded, read_only: args.read_only, trust: args.trust.clone() };
    let report = match acceptance::run(&context, &request).map_err(not_run) {
        Ok(report) => report,
        Err(failure) => {
            if let Some(destroy) = destroy.filter(|_| !args.keep_failed && ended.code().is_none()) {
                end(&destroy, ui);
            }
            return Err(failure);
        }
    };
    let verdict = report.verdict();
    if !ui.json {
        report.checks.iter().for_each(|check| tell(check, ui));
        ui.result(&summary(&report));
    }
    if let Some(code) = ended.code() {
        if ui.json {
            ui.result_json(&rendered(&report, None));
        } else if args.teardown {
            ui.story("interrupted: the cluster is kept; `machinist destroy` ends it");
        }
        return Ok(code.into());
    }
    let torn = destroy.filter(|_| !(args.keep_failed && verdict != Verdict::Passed)).map(|destroy| end(&destroy, ui));
    if ui.json {
        ui.result_json(&rendered(&report, torn));
    } else if args.teardown && torn.is_none() {
        ui.story("the cluster is kept, since it has not passed; `machinist destroy` ends it");
    }
    Ok(ExitCode::from(code(verdict, torn)))
}

/// Gives a test that could not begin the exit code of one that could not be run: 1 is a check that failed.
fn not_run(failure: Failure) -> Failure {
    let kind = if failure.kind == Kind::Failed { Kind::Refused } else { failure.kind };
    Failure { kind, ..failure }
}

/// Finds what the teardown would destroy. All objections come before the test: consent, a missing token, other servers.
fn teardown(args: &TestArgs, context: &Context) -> Result<Destroy, Failure> {
    let request = DestroyRequest { targets: Vec::new(), confirmed: args.yes_destroy.clone() };
    let destroy = provision::prepare_destroy(context, &request)?;
    if args.yes_destroy.is_none() && !io::stdin().is_terminal() {
        let message = "--teardown would delete all servers of the cluster, and there is no terminal to ask at";
        let hint = "give consent with --yes-destroy CLUSTER; --yes is not enough";
        return Err(Failure::new(Kind::Refused, message).hint(hint));
    }
    destroy.consent_given()?;
    Ok(destroy)
}

/// Destroys the cluster, and returns true if nothing is left of it.
fn end(destroy: &Destroy, ui: Ui) -> bool {
    destroy::announce(destroy, ui);
    match destroy.run() {
        Ok(end) => {
            if !ui.json {
                destroy::tell(&end, ui);
            }
            end.failed.is_empty()
        }
        Err(failure) => {
            ui.failure(&failure);
            false
        }
    }
}

/// Returns the exit code: that of the test, unless it passed and the teardown failed.
const fn code(verdict: Verdict, torn: Option<bool>) -> u8 {
    match (verdict, torn) {
        (Verdict::Failed, _) => Kind::Failed.code(),
        (Verdict::NotRun, _) => Kind::Refused.code(),
        (Verdict::Passed, Some(false)) => SOMETHING_TO_DO,
        (Verdict::Passed, _) => 0,
    }
}

fn tell(check: &Check, ui: Ui) {
    let name = ui.paint(Tone::Strong, &format!("{:<14}", check.name));
    let nodes = match check.nodes.len() {
        0 => String::new(),
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    };
    let took = format!("{nodes:>9} {:>6.1} s", check.seconds);
    let notes = match &check.outcome {
        Ended::Passed { notes } => {
            ui.result(&format!("{}  {name} {took}  {}", ui.paint(Tone::Good, "passed "), check.proves));
            notes
        }
        Ended::Failed { problems, notes } => {
            ui.result(&format!("{}  {name} {took}  {}", ui.paint(Tone::Bad, "FAILED "), check.proves));
            problems.iter().for_each(|problem| tell_problem(problem, ui));
            notes
        }
        Ended::Skipped { why } => {
            ui.result(&format!("{}  {name} {:>18}  {why}", ui.paint(Tone::Careful, "skipped"), ""));
            return;
        }
    };
    notes.iter().for_each(|note| ui.result(&format!("           {note}")));
}

fn tell_problem(problem: &Problem, ui: Ui) {
    let node =
        problem.node.as_ref().map(|node| format!("{} ", ui.paint(Tone::Strong, node.as_str()))).unwrap_or_default();
    ui.result(&format!("           {node}{}", problem.why));
    if let Some(hint) = &problem.hint {
        ui.result(&format!("             {} {hint}", ui.paint(Tone::Strong, "hint:")));
    }
}

fn summary(report: &Report) -> String {
    let (passed, failed, skipped) = report.counts();
    let counts = format!("{passed} passed, {failed} failed, {skipped} skipped in {:.1} s", report.seconds);
    match report.verdict() {
        Verdict::NotRun if report.interrupted => format!("{counts}: interrupted"),
        Verdict::NotRun => {
            format!("{counts}: nothing of {} was found to work, so the test could not be run", report.cluster)
        }
        Verdict::Passed | Verdict::Failed => counts,
    }
}

fn rendered(report: &Report, torn: Option<bool>) -> serde_json::Value {
    let (passed, failed, skipped) = report.counts();
    json!({
        "cluster": report.cluster,
        "verdict": report.verdict(),
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "seconds": report.seconds,
        "checks": report.checks,
        "destroyed": torn,
    })
}

#[cfg(test)]
mod tests {
    use machinist_operations::acceptance::Verdict;

    use super::code;

    #[test]
    fn the_exit_code_tells_the_test_s_result_whatever_became_of_the_teardown() {
        for torn in [None, Some(true), Some(false)] {
            assert_eq!((code(Verdict::Failed, torn), code(Verdict::NotRun, torn)), (1, 3));
        }
        assert_eq!((code(Verdict::Passed, None), code(Verdict::Passed, Some(true))), (0, 0));
        assert_eq!(code(Verdict::Passed, Some(false)), 4, "servers are left");
    }
}
