//! Inventory of applied objects: a ConfigMap, so that all operators share it.
//!
//! Only objects in the inventory may ever be pruned. A run records all objects that it is about to apply before it
//! starts, so that an interrupted run loses track of none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use thiserror::Error;

use crate::object::{Id, LABEL, Object};

/// Name of the ConfigMap.
pub const NAME: &str = "machinist-objects";
/// Namespace of the ConfigMap.
pub const NAMESPACE: &str = "kube-system";

/// An applied object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Identity of the object, with its effective namespace.
    pub id: Id,
    /// The API version that it was applied with.
    pub version: String,
}

/// Contents of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The digest of the desired state, if all of it was applied.
    pub digest: Option<String>,
    /// The applied objects.
    pub entries: BTreeSet<Entry>,
    /// The nodes that were labelled: name to the node's uid and the digest of its marks.
    pub nodes: BTreeMap<String, String>,
}

/// Error reading the inventory.
#[derive(Debug, Error)]
pub enum InventoryError {
    /// It was edited by hand.
    #[error("ConfigMap {NAMESPACE}/{NAME} cannot be read: {0}")]
    Unreadable(String),
    /// It belongs to another cluster or another tool.
    #[error("ConfigMap {NAMESPACE}/{NAME} belongs to {0}")]
    Foreign(String),
}

impl InventoryError {
    /// Returns a suggested fix.
    #[must_use]
    pub fn hint(&self) -> String {
        "if it is not in use, delete it; machinist then never prunes objects of earlier applies".to_owned()
    }
}

impl Entry {
    /// Returns the entry of an object with its effective namespace.
    #[must_use]
    pub fn of(object: &Object, namespaced: bool) -> Self {
        let namespace = namespaced.then(|| object.id.namespace.clone().unwrap_or_else(|| "default".to_owned()));
        Self { id: Id { namespace, ..object.id.clone() }, version: object.version.clone() }
    }

    fn to_json(&self) -> Value {
        let Self { id: Id { group, kind, namespace, name }, version } = self;
        json!([group, version, kind, namespace, name])
    }

    fn from_json(value: &Value) -> Option<Self> {
        let [group, version, kind, namespace, name] = value.as_array()?.as_slice() else { return None };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let namespace = if namespace.is_null() { None } else { Some(text(namespace)?) };
        let id = Id { group: text(group)?, kind: text(kind)?, namespace, name: text(name)? };
        Some(Self { id, version: text(version)? })
    }
}

impl Inventory {
    /// Reads the ConfigMap.
    ///
    /// # Errors
    /// It belongs to another cluster, or its format is not that of [`to_object`](Self::to_object).
    pub fn from_object(object: &Value, cluster: &str) -> Result<Self, InventoryError> {
        let owner = object.pointer(&format!("/metadata/labels/{}", LABEL.replace('/', "~1"))).and_then(Value::as_str);
        if owner != Some(cluster) {
            let owner = owner.map_or_else(|| "an unknown owner".to_owned(), |owner| format!("cluster {owner}"));
            return Err(InventoryError::Foreign(owner));
        }
        let text = |key: &str| object.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
        let unreadable = |key: &str| InventoryError::Unreadable(format!("unexpected data.{key}"));
        let parse = |key: &str| match text(key) {
            None => Err(unreadable(key)),
            Some(text) => serde_json::from_str::<Value>(text).map_err(|_| unreadable(key)),
        };
        let entries = parse("objects")?.as_array().and_then(|entries| entries.iter().map(Entry::from_json).collect());
        let nodes: Option<BTreeMap<String, String>> = serde_json::from_value(parse("nodes")?).ok();
        Ok(Self {
            digest: text("digest").filter(|digest| !digest.is_empty()).map(str::to_owned),
            entries: entries.ok_or_else(|| unreadable("objects"))?,
            nodes: nodes.ok_or_else(|| unreadable("nodes"))?,
        })
    }

    /// Returns the ConfigMap.
    #[must_use]
    pub fn to_object(&self, cluster: &str) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(Entry::to_json).collect();
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": { (LABEL): cluster } },
            "data": {
                "digest": self.digest.clone().unwrap_or_default(),
                "objects": Value::Array(entries).to_string(),
                "nodes": json!(self.nodes).to_string(),
            },
        })
    }
}

/// True if deleting the object would lose data for good. Such objects are only pruned on explicit request.
#[must_use]
pub fn holds_data(id: &Id) -> bool {
    matches!(
        (id.group.as_str(), id.kind.as_str()),
        ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::{Entry, Inventory, holds_data};
    use crate::object::Id;

    fn inventory() -> Inventory {
        let entry = |group: &str, kind: &str, namespace: Option<&str>| Entry {
            id: Id {
                group: group.to_owned(),
                kind: kind.to_owned(),
                namespace: namespace.map(str::to_owned),
                name: "a".to_owned(),
            },
            version: "v1".to_owned(),
        };
        Inventory {
            digest: Some("d".to_owned()),
            entries: [entry("apps", "Deployment", Some("shop")), entry("", "Namespace", None)].into(),
            nodes: [("cp1".to_owned(), "uid:1".to_owned())].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for wanted in [inventory(), Inventory::default()] {
            assert_eq!(Inventory::from_object(&wanted.to_object("magi"), "magi").unwrap(), wanted);
        }
    }

    #[test]
    fn an_inventory_of_somebody_else_is_not_touched() {
        let error = Inventory::from_object(&inventory().to_object("other"), "magi").unwrap_err();
        assert_eq!(error.to_string(), "ConfigMap kube-system/machinist-objects belongs to cluster other");
        assert!(Inventory::from_object(&json!({ "data": {} }), "magi").is_err());
    }

    #[test]
    fn an_inventory_that_was_changed_by_hand_removes_nothing() {
        for (key, text) in [("objects", "[[1]]"), ("objects", "x"), ("nodes", "[]"), ("nodes", "")] {
            let mut object = inventory().to_object("magi");
            object["data"][key] = Value::from(text);
            let error = Inventory::from_object(&object, "magi").unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
    }

    #[test]
    fn a_namespace_takes_everything_in_it_along() {
        let kinds = inventory().entries;
        let held: Vec<bool> = kinds.iter().map(|entry| holds_data(&entry.id)).collect();
        assert_eq!(held, [true, false]);
    }
}
