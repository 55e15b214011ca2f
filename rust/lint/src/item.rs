//! One object of a document, which can be traced back to its lines.

use std::collections::BTreeMap;

use machinist_kubernetes::manifest::{Document, pointer};
use serde_json::Value;

use crate::{
    EXTERNAL,
    finding::{Finding, Severity},
};

/// An object of a document.
pub struct Item<'a> {
    pub document: &'a Document,
    /// JSON pointer of the object in the document: empty, or an item of a `List`.
    pub base: String,
    pub value: &'a Value,
    pub api_version: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// A pod, or the pod template of an object.
pub struct Pod<'a> {
    /// JSON pointer in the object: empty for a Pod, else `/spec/template` and the like.
    pub base: &'static str,
    pub value: &'a Value,
}

/// Returns the objects of a document: itself, or the items of a `List`.
pub fn items(document: &Document) -> Vec<Item<'_>> {
    let list = document.value.get("items").and_then(Value::as_array);
    match (text(&document.value, "/kind"), list) {
        (Some("List"), Some(list)) => {
            let item = |(position, value)| Item::new(document, format!("/items/{position}"), value);
            list.iter().enumerate().map(item).collect()
        }
        _ => vec![Item::new(document, String::new(), &document.value)],
    }
}

/// Returns the string at a pointer.
pub fn text<'a>(value: &'a Value, at: &str) -> Option<&'a str> {
    value.pointer(at).and_then(Value::as_str)
}

/// Returns the items of the list at a pointer, each with its own pointer.
pub fn list<'a>(value: &'a Value, at: &str) -> Vec<(String, &'a Value)> {
    let entries = value.pointer(at).and_then(Value::as_array).into_iter().flatten();
    entries.enumerate().map(|(position, entry)| (format!("{at}/{position}"), entry)).collect()
}

/// Returns the mapping of strings at a pointer.
pub fn texts(value: &Value, at: &str) -> BTreeMap<String, String> {
    let entries = value.pointer(at).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

impl<'a> Item<'a> {
    fn new(document: &'a Document, base: String, value: &'a Value) -> Self {
        Self {
            document,
            base,
            value,
            api_version: text(value, "/apiVersion").unwrap_or_default(),
            kind: text(value, "/kind").unwrap_or_default(),
            namespace: text(value, "/metadata/namespace").unwrap_or("default"),
            name: text(value, "/metadata/name").unwrap_or_default(),
        }
    }

    /// Returns kind and name, such as `Service web`.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    pub fn error(&self, rule: &'static str, at: &str, message: impl Into<String>) -> Finding {
        let place = self.document.place_of(&format!("{}{at}", self.base));
        Finding { rule, severity: Severity::Error, place, message: message.into(), hint: None }
    }

    pub fn warning(&self, rule: &'static str, at: &str, message: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, ..self.error(rule, at, message) }
    }

    /// Returns `true` if the object's annotation declares another one as created elsewhere.
    pub fn declares(&self, kind: &str, name: &str) -> bool {
        let list = texts(self.value, "/metadata/annotations");
        list.get(EXTERNAL)
            .is_some_and(|list| list.split([' ', ',', '\n']).any(|entry| entry == format!("{kind}/{name}")))
    }

    /// Returns the pod or pod template of the object.
    pub fn pod(&self) -> Option<Pod<'a>> {
        let base = match self.kind {
            "Pod" => "",
            "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "ReplicationController" | "StatefulSet" => {
                "/spec/template"
            }
            "CronJob" => "/spec/jobTemplate/spec/template",
            _ => return None,
        };
        Some(Pod { base, value: self.value.pointer(base)? })
    }
}

impl<'a> Pod<'a> {
    pub fn labels(&self) -> BTreeMap<String, String> {
        texts(self.value, "/metadata/labels")
    }

    /// Returns its containers and init containers, with their pointers in the object.
    pub fn containers(&self) -> Vec<(String, &'a Value)> {
        let of = |at: &str| list(self.value, at).into_iter().map(|(at, value)| (format!("{}{at}", self.base), value));
        of("/spec/initContainers").chain(of("/spec/containers")).collect()
    }
}

/// Returns the pointer of a key in a mapping.
pub fn at(parent: &str, key: &str) -> String {
    pointer(parent, key)
}
