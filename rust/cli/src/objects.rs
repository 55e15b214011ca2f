//! Output about Kubernetes objects.

use std::time::Duration;

use machinist_kubernetes::{
    apply::{Change, Marked, Outcome},
    desired::Desired,
    diff::Comparison,
};
use machinist_operations::kubernetes::outcome::json;
use serde_json::Value;

use crate::ui::{Tone, Ui};

/// Prints all declared objects.
pub fn show(desired: &Desired, ui: Ui) {
    let values: Vec<&Value> = desired.objects.iter().map(|object| &object.value).collect();
    if ui.json {
        ui.result_json(&serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": values }));
        return;
    }
    let documents = desired
        .objects
        .iter()
        .map(|object| format!("# {}\n{}", object.origin, machinist_kubernetes::to_yaml(&object.value)));
    ui.document(format!("{}\n", documents.collect::<Vec<_>>().join("---\n").trim_end()).as_bytes());
}

/// Reports the outcome of an update.
pub fn applied(outcome: &Outcome, took: Duration, ui: Ui) {
    if ui.json {
        ui.result_json(&json(outcome));
        return;
    }
    for line in changes(outcome) {
        ui.result(&line);
    }
    ui.result(&format!("{} ({:.1} s)", summary(outcome), took.as_secs_f64()));
    absent(outcome, ui);
}

/// Reports the outcome of an update within a deploy. Nothing is printed if nothing changed.
pub fn after_deploy(outcome: &Outcome, took: Duration, ui: Ui) {
    if ui.json {
        ui.result_json_line(&serde_json::json!({ "event": "objects", "objects": json(outcome) }));
        return;
    }
    let lines = changes(outcome);
    for line in &lines {
        ui.story(&format!("objects: {line}"));
    }
    if !lines.is_empty() || outcome.count_nodes(Marked::Changed) > 0 || ui.verbose {
        ui.story(&format!("objects: {} ({:.1} s)", summary(outcome), took.as_secs_f64()));
    }
    absent(outcome, ui);
}

/// Reports the planned changes.
pub fn compared(comparison: &Comparison, ui: Ui) {
    if ui.json {
        let differences: Vec<Value> = comparison
            .differences
            .iter()
            .map(|found| serde_json::json!({ "object": found.id.to_string(), "before": found.before, "after": found.after, "kept": found.kept }))
            .collect();
        ui.result_json(&serde_json::json!({ "differences": differences }));
        return;
    }
    for found in &comparison.differences {
        if found.kept {
            ui.result(&format!(
                "{}: nobody wants it, but it holds data: `objects apply --prune-data` removes it",
                found.id
            ));
        } else {
            found.text().lines().for_each(|line| ui.result(&painted(line, ui)));
        }
    }
    if comparison.differences.is_empty() && comparison.problems.is_empty() {
        ui.result("nothing would change");
    }
}

fn painted(line: &str, ui: Ui) -> String {
    match line.as_bytes().first() {
        Some(b'+') => ui.paint(Tone::Good, line),
        Some(b'-') => ui.paint(Tone::Bad, line),
        Some(b'@') => ui.paint(Tone::Faint, line),
        _ => line.to_owned(),
    }
}

fn changes(outcome: &Outcome) -> Vec<String> {
    let line = |(id, change): &(_, Change)| {
        let id: &machinist_kubernetes::object::Id = id;
        let (word, why) = match change {
            Change::Unchanged => return None,
            Change::Created => ("created", ""),
            Change::Changed => ("changed", ""),
            Change::Removed => ("removed", ""),
            Change::Kept => {
                ("kept   ", ": nobody wants it, but it holds data: `machinist objects apply --prune-data` removes it")
            }
            Change::Left => ("left   ", ": nobody wants it, but it lacks machinist's label"),
        };
        Some(format!("{word}  {id}{why}"))
    };
    outcome.objects.iter().filter_map(line).collect()
}

fn summary(outcome: &Outcome) -> String {
    if outcome.by_digest && outcome.count_nodes(Marked::Changed) == 0 {
        return "nothing changed".to_owned();
    }
    let mut parts = Vec::new();
    for (change, word) in [(Change::Created, "created"), (Change::Changed, "changed"), (Change::Removed, "removed")] {
        match outcome.count(change) {
            0 => {}
            count => parts.push(format!("{count} {word}")),
        }
    }
    match outcome.count_nodes(Marked::Changed) {
        0 => {}
        1 => parts.push("1 node marked".to_owned()),
        count => parts.push(format!("{count} nodes marked")),
    }
    if parts.is_empty() {
        return "nothing changed".to_owned();
    }
    match outcome.count(Change::Unchanged) {
        0 => {}
        count => parts.push(format!("{count} unchanged")),
    }
    parts.join(", ")
}

/// Reports nodes that have not registered yet, since they get their labels later.
fn absent(outcome: &Outcome, ui: Ui) {
    let names: Vec<&str> =
        outcome.nodes.iter().filter(|(_, marked)| **marked == Marked::Absent).map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        ui.story(&format!(
            "objects: not in the cluster yet: {names}; the next deploy, or `machinist objects apply`, gives them their labels and taints"
        ));
    }
}
