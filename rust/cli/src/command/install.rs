//! `machinist install`.

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use clap::Args;
use machinist_model::NodeName;
use machinist_operations::{
    failure::Failure,
    install::{self, Group, Outcome, Request},
};
use machinist_remote::Fingerprint;
use machinist_rollout::install::{checks::Check, phase::Phase};

use crate::{
    args::Global,
    context,
    failure::{Outcome as Ended, exit_code},
    signals,
    ui::{Tone, Ui},
};

/// Exit code of a machine that the checks refuse.
const REFUSED: u8 = 3;

/// Puts NixOS on bare machines, side by side. Erases the disks that `machines.<name>.disk` names.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Names, globs such as `cp*`, `@role`, or `label=value`
    #[arg(required = true)]
    target: Vec<String>,

    /// Examine the machines, say what would be erased and what speaks against it, and change nothing on them
    #[arg(long)]
    plan: bool,

    /// Print each step and run none
    #[arg(long, conflicts_with = "plan")]
    dry_run: bool,

    /// etcd of this cluster has lost its quorum: install its members anew; their etcd waits for `machinist etcd restore`
    #[arg(long, value_name = "CLUSTER")]
    without_quorum: Option<String>,

    /// How
    #[command(flatten)]
    installation: InstallationArgs,

    /// Pin the host key with this fingerprint (SHA256:...) of the system that runs now
    #[arg(long, value_name = "FINGERPRINT")]
    accept_host_key: Option<Fingerprint>,
}

/// Arguments of each command that installs a machine.
#[derive(Debug, Args)]
pub struct InstallationArgs {
    /// Do not write nodes/<name>/hardware-configuration.nix
    #[arg(long)]
    no_hardware_config: bool,

    /// Go on although these checks refuse a machine
    #[arg(long, value_name = "CHECK", value_delimiter = ',', value_parser = check)]
    ignore: Vec<Check>,

    /// Deadline of a phase, such as copy=14400
    #[arg(long, value_name = "PHASE=SECONDS", value_parser = deadline)]
    deadline: Vec<(Phase, Duration)>,
}

impl InstallationArgs {
    /// Returns the request, without a machine.
    pub fn request(&self) -> Request {
        Request {
            hardware_config: !self.no_hardware_config,
            ignore: self.ignore.iter().copied().collect(),
            deadlines: self.deadline.iter().copied().collect(),
            ..Request::default()
        }
    }
}

fn check(name: &str) -> Result<Check, String> {
    let known = Check::ALL.map(Check::name).join(", ");
    Check::parse(name).ok_or_else(|| format!("there is no such check; there are {known}"))
}

fn deadline(text: &str) -> Result<(Phase, Duration), String> {
    let known = Phase::ALL.map(Phase::name).join(", ");
    let parsed = text.split_once('=').and_then(|(phase, seconds)| {
        let seconds = seconds.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
        Some((Phase::parse(phase)?, Duration::from_secs(seconds.into())))
    });
    parsed.ok_or_else(|| format!("write PHASE=SECONDS, where PHASE is one of {known}"))
}

/// Runs the command.
pub fn run(args: &InstallArgs, global: &Global, ui: Ui) -> Ended {
    let without_quorum = args.without_quorum.clone();
    let request = Request { accept: args.accept_host_key, without_quorum, ..args.installation.request() };
    let context = context::open(global, ui)?;
    let interrupt = context.interrupt.clone();
    let group = install::prepare_all(&context, &args.target, &request)?;
    if args.dry_run {
        for member in group.members() {
            member.steps()?.iter().for_each(|step| ui.result(step));
        }
        return Ok(exit_code(None));
    }
    if args.plan {
        return plan(&group, ui);
    }
    let ended = signals::end_in_order(interrupt);
    let outcome = group.run();
    if let Some(code) = ended.code() {
        match &outcome {
            Err(failure) => ui.failure(failure),
            Ok(outcome) => {
                outcome.values().filter_map(|ended| ended.as_ref().err()).for_each(|failure| ui.failure(failure))
            }
        }
        return Ok(ExitCode::from(code));
    }
    let awaiting: BTreeSet<NodeName> =
        group.members().iter().filter(|member| member.awaits_restore()).map(|member| member.node().clone()).collect();
    Ok(summary(&outcome?, &awaiting, ui))
}

fn plan(group: &Group, ui: Ui) -> Ended {
    let examined = group.examine()?;
    let mut worst = 0;
    for result in examined.values() {
        worst = worst.max(match result {
            Ok(report) if report.refused => REFUSED,
            Ok(_) => 0,
            Err(failure) => failure.kind.code(),
        });
    }
    if ui.json {
        let machines: Vec<serde_json::Value> = examined
            .iter()
            .map(|(node, result)| match result {
                Ok(report) => serde_json::to_value(report).unwrap_or_default(),
                Err(failure) => serde_json::json!({ "node": node, "refused": true, "failure": failure }),
            })
            .collect();
        ui.result_json(&serde_json::json!({ "machines": machines }));
    } else {
        for result in examined.values() {
            match result {
                Ok(report) => report.lines().iter().for_each(|line| ui.result(line)),
                Err(failure) => ui.failure(failure),
            }
        }
    }
    Ok(ExitCode::from(worst))
}

/// Prints what became of each machine, and what comes next.
fn summary(outcome: &Outcome, awaiting: &BTreeSet<NodeName>, ui: Ui) -> ExitCode {
    let mut worst = 0;
    for failure in outcome.values().filter_map(|ended| ended.as_ref().err()) {
        worst = worst.max(failure.kind.code());
        ui.failure(failure);
    }
    let failed = |ended: &Result<(), Failure>| ended.is_err();
    for name in outcome.iter().filter(|(_, ended)| !failed(ended)).map(|(name, _)| name) {
        let next = if awaiting.contains(name) {
            "its etcd waits: `machinist etcd restore FILE` once all members are there".to_owned()
        } else {
            format!("`machinist deploy {name}` from now on")
        };
        ui.result(&format!("{name} is installed and answers with its pinned host key; {next}"));
    }
    let missing: Vec<&str> = outcome.iter().filter(|(_, ended)| failed(ended)).map(|(name, _)| name.as_str()).collect();
    if outcome.len() > 1 && !missing.is_empty() {
        let names = missing.join(" ");
        ui.story(&format!(
            "{} {names}: not installed; again: `machinist install {names}`",
            ui.paint(Tone::Bad, "failed")
        ));
    }
    ExitCode::from(worst)
}
