//! Result of a rehearsal, as text and as JSON.

use machinist_operations::rehearse::{Act, Answers, Rehearsal};
use machinist_rollout::deploy::Outcome;
use serde_json::Value;

use crate::ui::{Tone, Ui, indent};

/// What no rehearsal shows, for the last line of each.
const NOT_SHOWN: &str =
    "not shown by a rehearsal: kernel, boot loader, hardware, the amount of real data, the provider's network";

/// Returns the result as the last line of JSON, with `works`.
pub fn json(rehearsal: &Rehearsal) -> Value {
    let mut value = serde_json::to_value(rehearsal).unwrap_or_default();
    value["event"] = "rehearsal".into();
    value["works"] = rehearsal.verdict().is_none().into();
    value
}

/// Prints the result.
pub fn text(rehearsal: &Rehearsal, ui: Ui) {
    for line in lines(rehearsal) {
        ui.result(&line);
    }
    for problem in &rehearsal.problems {
        ui.result(&format!("{} {}", ui.paint(Tone::Bad, "problem:"), indent(problem, "    ")));
    }
    let verdict = match rehearsal.verdict() {
        None if !rehearsal.deploy.changed() => ui.paint(Tone::Good, "the deploy would change nothing"),
        None => ui.paint(Tone::Good, "the deploy would work"),
        Some(_) => ui.paint(Tone::Bad, "the deploy would fail"),
    };
    ui.result(&verdict);
    ui.story(NOT_SHOWN);
    if let Some(namespace) = &rehearsal.kept {
        ui.story(&format!(
            "the machines are kept: nsenter --net={} ssh root@ADDRESS; `machinist rehearse --remove` removes them",
            namespace.display()
        ));
    }
}

/// Returns the figures, one line each.
fn lines(rehearsal: &Rehearsal) -> Vec<String> {
    let mut lines = act("deploy", &rehearsal.deploy);
    if let Some(rollback) = &rehearsal.rollback {
        lines.extend(act("rollback", rollback));
    }
    if let Some(lost) = rehearsal.lost_writes {
        lines.push(format!("all      {lost} acknowledged writes lost"));
    }
    lines
}

fn act(name: &str, act: &Act) -> Vec<String> {
    let count = |wanted: fn(&Outcome) -> bool| act.nodes.values().filter(|outcome| wanted(outcome)).count();
    let changed = count(|outcome| *outcome == Outcome::Changed);
    let unchanged = count(|outcome| *outcome == Outcome::Unchanged);
    let failed = act.nodes.len() - changed - unchanged;
    let not_done = if failed > 0 { format!(", {failed} not done") } else { String::new() };
    let mut lines =
        vec![format!("{changed} changed, {unchanged} unchanged{not_done} ({:.1} s)", act.took.as_secs_f64())];
    for (index, wave) in act.waves.iter().enumerate() {
        let nodes: Vec<&str> = wave.nodes.iter().map(|node| node.as_str()).collect();
        lines.push(format!("wave {} took {:.1} s: {}", index + 1, wave.took.as_secs_f64(), nodes.join(", ")));
    }
    let failing = act.units.len();
    lines.push(if failing == 0 { "no unit fails".to_owned() } else { format!("{failing} units fail") });
    if let Some(etcd) = &act.etcd {
        lines.push(format!("{:.1} s without a quorum of etcd", etcd.without_quorum.as_secs_f64()));
        lines.push(answers("writes", &etcd.writes));
        lines.push(answers("reads", &etcd.reads));
        let longest = etcd.longest_gap_of.iter().map(|(member, gap)| format!("{member} {:.1} s", gap.as_secs_f64()));
        lines.push(format!("longest time without an answer of a member: {}", longest.collect::<Vec<_>>().join(", ")));
    }
    lines.extend(act.urls.iter().map(|(url, figures)| answers(url, figures)));
    lines.into_iter().map(|line| format!("{name:<8} {line}")).collect()
}

fn answers(what: &str, answers: &Answers) -> String {
    let Answers { answered, lost, longest_gap } = answers;
    let gap = longest_gap.as_secs_f64();
    format!("{what}: {answered} answered, {lost} lost, longest gap {gap:.1} s")
}
