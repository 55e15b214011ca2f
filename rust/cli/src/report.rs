//! Report at the end of a run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use machinist_rollout::{
    deploy::{EtcdEnd, Outcome as NodeOutcome, Report, Verdict},
    waves::Reboots,
};

use crate::ui::{Tone, Ui};

/// Command that completes the rest of a run.
#[derive(Clone, Debug)]
pub struct Again {
    /// Name of the command.
    pub verb: String,
    /// Path of the cluster's directory.
    pub directory: PathBuf,
    /// Requested reboots, if given.
    pub reboots: Option<Reboots>,
}

impl Again {
    /// Returns true if the command can reboot machines: not the one that it runs on.
    fn reboots_others(&self) -> bool {
        self.verb != "apply-local"
    }

    /// Returns the command for the nodes that are not done.
    fn line(&self, report: &Report) -> String {
        let is_done = |outcome: &NodeOutcome| matches!(outcome, NodeOutcome::Changed | NodeOutcome::Unchanged);
        let rest = report.nodes.iter().filter(|(_, outcome)| !is_done(outcome)).map(|(node, _)| node.as_str());
        let directory = &self.directory;
        let mut words = vec!["machinist".to_owned()];
        if directory != Path::new(".") {
            words.extend(["-C".to_owned(), machinist_remote::quote(&directory.display().to_string())]);
        }
        words.push(self.verb.clone());
        match self.verb.as_str() {
            "upgrade" => words.push("--continue".to_owned()),
            // Such a command is about one node, and names it.
            verb if verb.starts_with("node ") => {}
            _ => words.extend(rest.map(str::to_owned)),
        }
        if let Some(reboots) = self.reboots {
            words.extend(["--reboot".to_owned(), reboots.as_str().to_owned()]);
        }
        words.join(" ")
    }
}

/// Reports the outcome of all nodes.
pub fn tell(report: &Report, again: &Again, took: Duration, ui: Ui) {
    if ui.json {
        ui.result_json_line(&serde_json::json!({ "event": "report", "report": report }));
        return;
    }
    let count = |wanted: fn(&NodeOutcome) -> bool| report.nodes.values().filter(|outcome| wanted(outcome)).count();
    let changed = count(|outcome| *outcome == NodeOutcome::Changed);
    let unchanged = count(|outcome| *outcome == NodeOutcome::Unchanged);
    let left = report.nodes.len() - changed - unchanged;
    let etcd = match &report.etcd {
        Some(etcd) if etcd.is_whole() && etcd.alarm.is_some() => ui.paint(Tone::Bad, ", etcd refuses writes"),
        Some(etcd) if etcd.is_whole() => ui.paint(Tone::Good, ", etcd healthy"),
        Some(EtcdEnd { healthy: Some(healthy), members, .. }) => {
            ui.paint(Tone::Bad, &format!(", only {healthy} of {members} etcd members healthy"))
        }
        Some(EtcdEnd { healthy: None, .. }) => ui.paint(Tone::Bad, ", etcd gave no answer"),
        None => String::new(),
    };
    let failed = if left > 0 { ui.paint(Tone::Bad, &format!(", {left} not done")) } else { String::new() };
    let rebooted = match report.rebooted.len() {
        0 => String::new(),
        count => format!(", {count} rebooted"),
    };
    let seconds = took.as_secs_f64();
    ui.result(&format!("{changed} changed, {unchanged} unchanged{rebooted}{failed}{etcd} ({seconds:.1} s)"));
    for problem in report.etcd.iter().flat_map(|etcd| &etcd.problems) {
        ui.story(&format!("etcd: {problem}"));
    }
    if let Some(alarm) = report.etcd.as_ref().and_then(|etcd| etcd.alarm.as_ref()) {
        ui.story(&format!("{alarm}; `machinist etcd status` explains it"));
    }
    for (node, why) in &report.reboot_due {
        let way = if again.reboots_others() { "`--reboot auto` does that" } else { "this command does not do that" };
        ui.story(&format!("{node} needs a reboot for {}: {way}", why.join(", ")));
    }
    if left > 0 {
        ui.story(&format!("now {}", standing(report)));
    }
    if report.interrupted {
        ui.story("the run was stopped; every host runs and boots one whole system. Deploy again to go on");
    }
    if let Some(why) = &report.lost {
        ui.story(&format!("this run has lost its locks, and did nothing more then: {why}"));
    }
    for (node, outcome) in &report.nodes {
        if let NodeOutcome::NotStarted { why } = outcome {
            ui.story(&format!("{node} was not touched: {why}"));
        }
    }
    if left > 0 {
        ui.story(&format!("to do the rest: {}", again.line(report)));
    }
}

/// Reports which systems the nodes run, after a partial failure.
fn standing(report: &Report) -> String {
    let runs = |outcome: &NodeOutcome| match outcome {
        NodeOutcome::Changed | NodeOutcome::Unchanged | NodeOutcome::Failed { verdict: Verdict::Confirmed, .. } => {
            "the new system runs on"
        }
        NodeOutcome::Failed { verdict: Verdict::Away, .. } => "rebooted and not back:",
        NodeOutcome::Failed { verdict: Verdict::Broken, .. } => "a system that could not be reverted runs on",
        NodeOutcome::Failed { verdict: Verdict::Unknown, .. } => "it is not known what runs on",
        _ => "the system before runs on",
    };
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (node, outcome) in &report.nodes {
        groups.entry(runs(outcome)).or_default().push(node.as_str());
    }
    let parts: Vec<String> = groups.iter().map(|(runs, nodes)| format!("{runs} {}", nodes.join(", "))).collect();
    parts.join("; ")
}
