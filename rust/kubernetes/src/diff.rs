//! Changes that an apply would make. They come from a server-side dry run: the answer includes its defaults and other
//! managers' fields.

use std::fmt::Write as _;

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use similar::TextDiff;

use crate::{
    apply::{
        ApplyError, Problem, Run, addressed, core_kind, is_ours, known_kinds,
        nodes::{labels, merged_taints, node_id, recorded_taints},
        read_inventory, to_value,
    },
    bootstrap::NodeMarks,
    desired::Desired,
    inventory::{Entry, holds_data},
    kinds::Kind,
    object::{Id, Object},
    server::{AT_ONCE, Server, ServerError, Write},
    yaml,
};

/// Annotation that repeats the object, secrets included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Metadata fields that the server maintains.
const BOOKKEEPING: [&str; 5] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"];

/// An object that would change.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Identity of the object.
    pub id: Id,
    /// Current state; `None` if it does not exist.
    pub before: Option<Value>,
    /// State after an apply; `None` if it would be pruned.
    pub after: Option<Value>,
    /// True if it is no longer desired, but kept because it holds data.
    pub kept: bool,
}

/// Result of a dry run.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The changes, in the order an apply would make them.
    pub differences: Vec<Difference>,
    /// Objects that the server would reject.
    pub problems: Vec<Problem>,
}

impl Difference {
    /// Returns the change in `diff -u` format.
    #[must_use]
    pub fn text(&self) -> String {
        let print = |value: &Option<Value>| value.as_ref().map(yaml::print).unwrap_or_default();
        let (before, after) = (print(&self.before), print(&self.after));
        let name = |side: &str, value: &Option<Value>| {
            if value.is_some() { format!("{side}/{}", self.id) } else { "/dev/null".to_owned() }
        };
        let diff = TextDiff::from_lines(&before, &after);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{}",
            diff.unified_diff().header(&name("cluster", &self.before), &name("directory", &self.after))
        );
        text
    }
}

/// Compares all desired objects with the cluster. Changes nothing.
///
/// # Errors
/// The server is unreachable, or does not serve a kind.
pub async fn compare(server: &Server, desired: &Desired) -> Result<Comparison, ApplyError> {
    let stored = read_inventory(server, &desired.cluster).await?;
    let kinds = known_kinds(server, desired).await?;
    let run = Run { server, desired, kinds, stored };
    let mut comparison = Comparison::default();
    let found = stream::iter(&desired.objects).map(|object| object_difference(&run, object)).buffered(AT_ONCE);
    for (object, result) in desired.objects.iter().zip(found.collect::<Vec<_>>().await) {
        match result {
            Ok(found) => comparison.differences.extend(found),
            Err(source) => {
                comparison.problems.push(Problem { id: object.id.clone(), origin: object.origin.clone(), source });
            }
        }
    }
    let failed = |source| ApplyError::Server { doing: "compare nodes and what was applied before", source };
    comparison.differences.extend(nodes(&run).await.map_err(failed)?);
    comparison.differences.extend(removed(&run).await.map_err(failed)?);
    Ok(comparison)
}

async fn object_difference(run: &Run<'_>, object: &Object) -> Result<Option<Difference>, ServerError> {
    let Some(kind) = run.kinds.get(&object.api_version(), &object.id.kind) else { return Ok(None) };
    let (namespace, name) = (object.id.namespace.as_deref(), object.id.name.as_str());
    let id = Entry::of(object, kind.namespaced).id;
    let wanted = addressed(object, kind);
    let before = run.server.get(kind, namespace, name).await?;
    let force = before.as_ref().is_some_and(|before| is_ours(before, &run.desired.cluster));
    let after = match run.server.write(kind, namespace, name, &wanted, Write { dry_run: true, force }).await {
        Ok(after) => to_value(&after),
        // Its namespace or its kind is created by the same apply.
        Err(_) if before.is_none() && comes_along(run.desired, object) => wanted,
        Err(error) => return Err(error),
    };
    Ok(difference(id, before.as_ref().map(to_value), Some(after)))
}

/// True if the apply itself creates the object's namespace or kind.
fn comes_along(desired: &Desired, object: &Object) -> bool {
    let Id { group, kind, namespace, .. } = &object.id;
    desired.objects.iter().any(|other| match other.id.kind.as_str() {
        "Namespace" => Some(&other.id.name) == namespace.as_ref(),
        "CustomResourceDefinition" => {
            other.value.pointer("/spec/group").and_then(Value::as_str) == Some(group)
                && other.value.pointer("/spec/names/kind").and_then(Value::as_str) == Some(kind)
        }
        _ => false,
    })
}

fn difference(id: Id, before: Option<Value>, after: Option<Value>) -> Option<Difference> {
    let shown = |value: Option<Value>| value.map(|value| shown(value, &id));
    let (before, after) = (shown(before), shown(after));
    (before != after).then_some(Difference { id, before, after, kept: false })
}

/// The object without fields that the server maintains, and with secrets hidden.
fn shown(mut value: Value, id: &Id) -> Value {
    let Some(object) = value.as_object_mut() else { return value };
    object.remove("status");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        BOOKKEEPING.iter().for_each(|key| drop(metadata.remove(*key)));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    if id.group.is_empty() && id.kind == "Secret" {
        for part in ["data", "stringData"] {
            if let Some(entries) = object.get_mut(part).and_then(Value::as_object_mut) {
                entries.values_mut().for_each(hide);
            }
        }
    }
    value
}

/// Replaces a secret by a digest, which shows that it changes.
fn hide(value: &mut Value) {
    let digest: String = Sha256::digest(value.to_string()).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    *value = format!("(hidden, {digest})").into();
}

async fn nodes(run: &Run<'_>) -> Result<Vec<Difference>, ServerError> {
    let kind = core_kind("Node", "nodes", false);
    let found: Vec<Option<Difference>> = stream::iter(&run.desired.nodes)
        .map(|marks| node_difference(run, &kind, marks))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

/// Labels and taints of a node; machinist manages nothing else of it.
async fn node_difference(run: &Run<'_>, kind: &Kind, marks: &NodeMarks) -> Result<Option<Difference>, ServerError> {
    let name = marks.name.as_str();
    let Some(before) = run.server.get(kind, None, name).await? else { return Ok(None) };
    let force = is_ours(&before, &run.desired.cluster);
    let uid = before.metadata.uid.clone().unwrap_or_default();
    let how = Write { dry_run: true, force };
    let after = run.server.write(kind, None, name, &labels(marks, &uid), how).await?;
    let current = before.data.pointer("/spec/taints").cloned().unwrap_or_default();
    let taints = merged_taints(&current, recorded_taints(&before), &marks.taints).unwrap_or_else(|| current.clone());
    let part = |node: &DynamicObject, taints: Value| json!({ "labels": node.metadata.labels, "taints": taints });
    Ok(difference(node_id(name), Some(part(&before, current)), Some(part(&after, taints))))
}

async fn removed(run: &Run<'_>) -> Result<Vec<Difference>, ServerError> {
    let wanted: Vec<Entry> = run.desired.objects.iter().map(|object| run.entry(object)).collect();
    let unwanted = run.unwanted(&wanted);
    let kinds = run.kinds_of(&unwanted).await?;
    let mut differences = Vec::new();
    for entry in unwanted {
        let Some((_, found)) = run.removable(&entry, &kinds).await? else { continue };
        if !is_ours(&found, &run.desired.cluster) {
            continue;
        }
        if holds_data(&entry.id) {
            let before = Some(Value::Object(Map::new()));
            differences.push(Difference { id: entry.id, before, after: None, kept: true });
        } else {
            differences.extend(difference(entry.id, Some(to_value(&found)), None));
        }
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use serde_json::{Value, json};

    use super::{Difference, difference};
    use crate::object::Id;

    fn id(kind: &str) -> Id {
        Id { group: String::new(), kind: kind.to_owned(), namespace: Some("shop".to_owned()), name: "a".to_owned() }
    }

    fn found(kind: &str, before: Option<Value>, after: Option<Value>) -> Option<Difference> {
        difference(id(kind), before, after)
    }

    #[test]
    fn what_the_server_counts_is_no_difference() {
        let object = |version: &str| {
            json!({
                "metadata": { "name": "a", "resourceVersion": version, "managedFields": [{ "time": version }] },
                "status": { "observed": version },
            })
        };
        assert_eq!(found("ConfigMap", Some(object("1")), Some(object("2"))), None);
    }

    #[test]
    fn a_difference_reads_as_diff_prints_it() {
        let object = |text: &str| json!({ "kind": "ConfigMap", "data": { "a": "same", "b": text, "c": "same" } });
        let changed = found("ConfigMap", Some(object("1")), Some(object("2"))).map(|found| found.text());
        expect![[r#"
            --- cluster/ConfigMap shop/a
            +++ directory/ConfigMap shop/a
            @@ -1,5 +1,5 @@
             data:
               a: same
            -  b: "1"
            +  b: "2"
               c: same
             kind: ConfigMap
        "#]]
        .assert_eq(&changed.unwrap_or_default());
        let removed = found("ConfigMap", Some(json!({ "kind": "ConfigMap" })), None).map(|found| found.text());
        expect![[r"
            --- cluster/ConfigMap shop/a
            +++ /dev/null
            @@ -1 +0,0 @@
            -kind: ConfigMap
        "]]
        .assert_eq(&removed.unwrap_or_default());
    }

    #[test]
    fn a_secret_shows_that_it_changes_and_no_more() {
        let secret = |text: &str| {
            json!({
                "data": { "password": text },
                "metadata": { "annotations": { "kubectl.kubernetes.io/last-applied-configuration": text } },
            })
        };
        let text = found("Secret", Some(secret("aHVudGVyMg==")), Some(secret("aHVudGVyMw=="))).unwrap().text();
        assert!(text.contains("-  password: \"(hidden, ") && !text.contains("aHVudGVy"), "{text}");
        assert_eq!(found("Secret", Some(secret("a")), Some(secret("a"))), None);
    }
}
