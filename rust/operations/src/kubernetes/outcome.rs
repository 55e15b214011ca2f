//! Outcome of an update of Kubernetes objects, as data.

use machinist_kubernetes::apply::Outcome;
use serde_json::{Value, json};

/// Converts the outcome of an update into data.
#[must_use]
pub fn json(outcome: &Outcome) -> Value {
    let objects: Vec<Value> = outcome
        .objects
        .iter()
        .map(|(id, change)| json!({ "kind": id.kind, "group": id.group, "namespace": id.namespace, "name": id.name, "change": change }))
        .collect();
    let problems: Vec<Value> = outcome
        .problems
        .iter()
        .map(|problem| json!({ "object": problem.id.to_string(), "origin": problem.origin.to_string(), "error": problem.source.to_string() }))
        .collect();
    json!({ "byDigest": outcome.by_digest, "objects": objects, "nodes": outcome.nodes, "problems": problems })
}
