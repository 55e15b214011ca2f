//! Labels and taints of nodes. Nodes belong to the kubelets: this module never creates or deletes one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Marked, Outcome, Problem, Run, core_kind, is_ours};
use crate::{
    bootstrap::{NIXOS_UNSCHEDULABLE, NodeMarks, TAINTS},
    kinds::Kind,
    object::{Id, Origin},
    server::{AT_ONCE, ServerError, Write},
};

/// Poll interval for nodes that have not registered yet.
const LOOK: Duration = Duration::from_millis(500);

/// The inventory's record of a node: uid and digest. A different node of the same name has another uid.
fn record(uid: &str, marks: &NodeMarks) -> String {
    format!("{uid}:{}", marks.digest())
}

impl Run<'_> {
    /// Labels and taints all registered nodes, after waiting for missing ones. Returns the nodes' records for the
    /// inventory.
    pub(super) async fn mark_nodes(&self, wait: Duration, outcome: &mut Outcome) -> BTreeMap<String, String> {
        let kind = core_kind("Node", "nodes", false);
        let present = match self.registered(&kind, wait).await {
            Ok(present) => present,
            Err(source) => {
                let id = node_id("*");
                outcome.problems.push(Problem { id, origin: Origin::Generated, source });
                return self.stored.inventory.nodes.clone();
            }
        };
        let marked = stream::iter(&self.desired.nodes)
            .map(|marks| self.mark(&kind, marks, present.get(marks.name.as_str()), outcome.by_digest))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut nodes = BTreeMap::new();
        for (marks, result) in self.desired.nodes.iter().zip(marked) {
            let uid = present.get(marks.name.as_str());
            match result {
                Err(source) => {
                    let problem = Problem { id: node_id(marks.name.as_str()), origin: Origin::Generated, source };
                    outcome.problems.push(problem);
                }
                Ok(found) => {
                    outcome.nodes.insert(marks.name.clone(), found);
                    if let Some(uid) = uid.filter(|_| found != Marked::Absent) {
                        nodes.insert(marks.name.to_string(), record(uid, marks));
                    }
                }
            }
        }
        nodes
    }

    /// The registered nodes: name to uid.
    async fn registered(&self, kind: &Kind, wait: Duration) -> Result<BTreeMap<String, String>, ServerError> {
        let end = Instant::now() + wait;
        loop {
            let found = self.server.list(kind).await?;
            let present: BTreeMap<String, String> =
                found.into_iter().filter_map(|node| Some((node.metadata.name?, node.metadata.uid?))).collect();
            let all_there = self.desired.nodes.iter().all(|marks| present.contains_key(marks.name.as_str()));
            if all_there || Instant::now() + LOOK > end {
                return Ok(present);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn mark(
        &self,
        kind: &Kind,
        marks: &NodeMarks,
        uid: Option<&String>,
        by_digest: bool,
    ) -> Result<Marked, ServerError> {
        let Some(uid) = uid else { return Ok(Marked::Absent) };
        let name = marks.name.as_str();
        if by_digest && self.stored.inventory.nodes.get(name) == Some(&record(uid, marks)) {
            return Ok(Marked::Unchanged);
        }
        let Some(before) = self.server.get(kind, None, name).await? else { return Ok(Marked::Absent) };
        let force = is_ours(&before, &self.desired.cluster);
        let current = before.data.pointer("/spec/taints").cloned().unwrap_or_default();
        let taints = merged_taints(&current, recorded_taints(&before), &marks.taints);
        // Taints first: if the run is interrupted before the annotation is written, the next one repeats it.
        let mut version = before.metadata.resource_version.clone();
        if let Some(taints) = taints {
            let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
            version = self.server.merge(kind, name, &patch).await?.metadata.resource_version;
        }
        let value = labels(marks, uid);
        let after = self.server.write(kind, None, name, &value, Write { dry_run: false, force }).await?;
        let same = before.metadata.resource_version == version && version == after.metadata.resource_version;
        Ok(if same { Marked::Unchanged } else { Marked::Changed })
    }
}

pub(crate) fn node_id(name: &str) -> Id {
    Id { group: String::new(), kind: "Node".to_owned(), namespace: None, name: name.to_owned() }
}

/// Labels and the annotation of taints. The uid keeps the patch from creating a node that vanishes meanwhile.
pub(crate) fn labels(marks: &NodeMarks, uid: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": marks.name,
            "uid": uid,
            "labels": marks.labels,
            "annotations": { (TAINTS): marks.taints.join(",") },
        },
    })
}

/// The taints that an earlier run set on the node.
pub(crate) fn recorded_taints(node: &DynamicObject) -> &str {
    node.metadata.annotations.as_ref().and_then(|notes| notes.get(TAINTS)).map(String::as_str).unwrap_or_default()
}

/// A taint is identified by key and effect.
fn key(taint: &Value) -> (&str, &str) {
    let text = |name: &str| taint.get(name).and_then(Value::as_str).unwrap_or_default();
    (text("key"), text("effect"))
}

/// Returns the new taints of the node, or `None` if they are unchanged: those of other managers as they are, without
/// machinist's earlier ones and [`NIXOS_UNSCHEDULABLE`], plus the wanted ones. The API server treats the list as one
/// value, so that no part of it can be owned.
pub(crate) fn merged_taints(current: &Value, recorded: &str, wanted: &[String]) -> Option<Value> {
    let wanted: Vec<Value> = wanted.iter().filter_map(|text| parse(text)).collect();
    let recorded: Vec<Value> = recorded.split(',').filter_map(parse).collect();
    let ours: BTreeSet<_> = wanted.iter().chain(&recorded).map(key).collect();
    let current = current.as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |taint: &Value| current.iter().any(|found| key(found) == key(taint) && value(found) == value(taint));
    let goes = |taint: &Value| ours.contains(&key(taint)) || is_nixos_unschedulable(taint);
    let is_stale = |taint: &Value| goes(taint) && !wanted.iter().any(|wanted| key(wanted) == key(taint));
    if wanted.iter().all(has) && !current.iter().any(is_stale) {
        return None;
    }
    let others = current.iter().filter(|taint| !goes(taint)).cloned();
    Some(Value::Array(others.chain(wanted.iter().cloned()).collect()))
}

fn is_nixos_unschedulable(taint: &Value) -> bool {
    parse(NIXOS_UNSCHEDULABLE).is_some_and(|nixos| key(&nixos) == key(taint) && value(&nixos) == value(taint))
}

fn value(taint: &Value) -> &str {
    taint.get("value").and_then(Value::as_str).unwrap_or_default()
}

fn parse(text: &str) -> Option<Value> {
    let (front, effect) = text.rsplit_once(':')?;
    let (key, value) = front.split_once('=').unwrap_or((front, ""));
    let mut taint = json!({ "key": key, "effect": effect });
    if !value.is_empty() {
        taint["value"] = value.into();
    }
    Some(taint)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::merged_taints;

    #[track_caller]
    fn check(current: &Value, recorded: &str, wanted: &[&str], expect: Option<Value>) {
        let wanted: Vec<String> = wanted.iter().map(|taint| (*taint).to_owned()).collect();
        assert_eq!(merged_taints(current, recorded, &wanted), expect);
    }

    #[test]
    fn taints_of_others_stay_as_they_are() {
        let unreachable = json!({ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "t" });
        let dedicated = json!({ "key": "dedicated", "value": "db", "effect": "NoSchedule" });
        let both = json!([unreachable, dedicated]);
        check(&Value::Null, "", &[], None);
        check(&json!([unreachable]), "", &[], None);
        check(&json!([unreachable]), "", &["dedicated=db:NoSchedule"], Some(both.clone()));
        check(&both, "dedicated=db:NoSchedule", &["dedicated=db:NoSchedule"], None);
        check(&both, "dedicated=db:NoSchedule", &[], Some(json!([unreachable])));
        check(&both, "", &[], None);
    }

    #[test]
    fn a_node_that_registered_as_unschedulable_gets_pods_again_and_a_cordoned_one_does_not() {
        let nixos = json!({ "key": "unschedulable", "value": "true", "effect": "NoSchedule" });
        let cordon = json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" });
        let other = json!({ "key": "unschedulable", "value": "weekends", "effect": "NoSchedule" });
        check(&json!([nixos, cordon, other]), "", &[], Some(json!([cordon, other])));
        check(&json!([cordon, other]), "", &[], None);
        check(&json!([nixos]), "", &["unschedulable=true:NoSchedule"], None);
    }

    #[test]
    fn a_taint_is_the_same_one_by_its_key_and_effect() {
        let current =
            json!([{ "key": "a", "value": "old", "effect": "NoSchedule" }, { "key": "a", "effect": "NoExecute" }]);
        let wanted =
            json!([{ "key": "a", "effect": "NoExecute" }, { "key": "a", "value": "new", "effect": "NoSchedule" }]);
        check(&current, "", &["a=new:NoSchedule"], Some(wanted));
        // The kubelet registers it without a value.
        let role = "node-role.kubernetes.io/control-plane";
        check(&json!([{ "key": role, "effect": "NoSchedule" }]), "", &[&format!("{role}=:NoSchedule")], None);
    }
}
