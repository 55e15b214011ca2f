//! Checks of selectors that match nothing, and of autoscalers without a target.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Finding, Set,
    item::{Item, Pod, list, text, texts},
    missing::missing,
};

impl<'a> Set<'a> {
    /// The pods of a namespace with matching labels, each with the object that creates it.
    pub fn of_pods(
        &self,
        namespace: &str,
        fits: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Vec<(&'a Item<'a>, Pod<'a>)> {
        let own = self.items.iter().filter(|item| item.namespace == namespace);
        own.filter_map(|item| Some((item, item.pod()?))).filter(|(_, pod)| fits(&pod.labels())).collect()
    }
}

/// Returns `true` if a Service's selector, a plain mapping, matches the labels.
pub fn selects(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let entries = texts(selector, "");
    !entries.is_empty() && entries.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Returns `true` if a selector with `matchLabels` and `matchExpressions` matches the labels. An empty one matches all.
fn matches(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let fits = |(_, expression): (String, &Value)| {
        let values: Vec<&str> =
            list(expression, "/values").into_iter().filter_map(|(_, value)| value.as_str()).collect();
        let found = text(expression, "/key").and_then(|key| labels.get(key)).map(String::as_str);
        match text(expression, "/operator") {
            Some("In") => found.is_some_and(|found| values.contains(&found)),
            Some("NotIn") => found.is_none_or(|found| !values.contains(&found)),
            Some("Exists") => found.is_some(),
            Some("DoesNotExist") => found.is_none(),
            // An invalid operator: the schema reports it.
            _ => true,
        }
    };
    texts(selector, "/matchLabels").iter().all(|(key, value)| labels.get(key) == Some(value))
        && list(selector, "/matchExpressions").into_iter().all(fits)
}

/// Checks all selectors.
pub fn check(set: &Set<'_>, findings: &mut Vec<Finding>) {
    for item in set.items {
        match item.kind {
            "Service" => service(set, item, findings),
            "PodDisruptionBudget" => budget(set, item, findings),
            "HorizontalPodAutoscaler" => autoscaler(set, item, findings),
            "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" => own_pods(item, findings),
            _ => {}
        }
    }
}

fn shown(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn labels_of_pods(set: &Set<'_>, namespace: &str) -> String {
    let pods = set.of_pods(namespace, |_| true);
    let pods: Vec<String> =
        pods.iter().map(|(item, pod)| format!("{} has {}", item.title(), shown(&pod.labels()))).collect();
    if pods.is_empty() { format!("there are no pods in the namespace {namespace}") } else { pods.join("; ") }
}

fn service(set: &Set<'_>, item: &Item<'_>, findings: &mut Vec<Finding>) {
    let Some(selector) = item.value.pointer("/spec/selector").filter(|selector| selector.is_object()) else { return };
    if item.declares("Pod", item.name) || !set.of_pods(item.namespace, |labels| selects(selector, labels)).is_empty() {
        return;
    }
    let message = format!("{} selects no pod: {}", item.title(), shown(&texts(selector, "")));
    let finding = item.error("service-selector", "/spec/selector", message);
    findings.push(finding.hint(labels_of_pods(set, item.namespace)));
}

fn budget(set: &Set<'_>, item: &Item<'_>, findings: &mut Vec<Finding>) {
    let Some(selector) = item.value.pointer("/spec/selector") else { return };
    let pods = set.of_pods(item.namespace, |labels| matches(selector, labels));
    if pods.is_empty() {
        let finding = item.error("budget-selector", "/spec/selector", format!("{} protects no pod", item.title()));
        findings.push(finding.hint(labels_of_pods(set, item.namespace)));
    }
    let Some(least) = item.value.pointer("/spec/minAvailable").and_then(Value::as_u64) else { return };
    let scaled =
        set.items.iter().any(|other| other.kind == "HorizontalPodAutoscaler" && other.namespace == item.namespace);
    let replicas = |owner: &Item<'_>| owner.value.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let total: u64 = pods.iter().map(|(owner, _)| replicas(owner)).sum();
    let counted = pods.iter().all(|(owner, _)| matches!(owner.kind, "Deployment" | "StatefulSet" | "ReplicaSet"));
    if !pods.is_empty() && counted && !scaled && least >= total {
        let message = format!(
            "{} allows no eviction: {least} of {total} pods must stay, so a node can never be drained",
            item.title()
        );
        findings.push(item.warning("budget-blocks", "/spec/minAvailable", message).hint("write maxUnavailable: 1"));
    }
}

fn autoscaler(set: &Set<'_>, item: &Item<'_>, findings: &mut Vec<Finding>) {
    let target = |key: &str| text(item.value, &format!("/spec/scaleTargetRef/{key}"));
    let (Some(kind), Some(name)) = (target("kind"), target("name")) else { return };
    let is_there =
        set.items.iter().any(|other| (other.kind, other.namespace, other.name) == (kind, item.namespace, name));
    if !is_there && !item.declares(kind, name) {
        let message = format!("{} scales the {kind} {name}, which does not exist", item.title());
        let finding = item.error("autoscaler-target", "/spec/scaleTargetRef/name", message);
        findings.push(finding.hint(missing(set, kind, item.namespace, name)));
    }
}

/// An object's selector must match its own pods: an API server rejects it otherwise.
fn own_pods(item: &Item<'_>, findings: &mut Vec<Finding>) {
    let (Some(selector), Some(pod)) = (item.value.pointer("/spec/selector"), item.pod()) else { return };
    if !matches(selector, &pod.labels()) {
        let message = format!("{} has a selector that does not match its own pods", item.title());
        let labels = shown(&pod.labels());
        let labels = if labels.is_empty() { "none".to_owned() } else { labels };
        findings.push(
            item.error("own-selector", "/spec/selector", message).hint(format!("the labels of its pods: {labels}")),
        );
    }
}
