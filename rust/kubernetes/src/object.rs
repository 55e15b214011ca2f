//! Objects: what names one, and what a document must say to be one.

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::manifest::{Document, Place, pointer};

/// The label that marks an object as this tool's, with the cluster's name. What lacks it is never forced, and never removed.
pub const LABEL: &str = "machinist.dev/cluster";

/// What names an object in a cluster. The version of its kind does not: one object may be read in several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The API group; empty for the core one.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace, where the kind has one and the object says it.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// machines.nix.
    Generated,
    /// A file that a person wrote.
    File(Place),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generated => f.write_str("machines.nix"),
            Self::File(place) => place.fmt(f),
        }
    }
}

/// An object that should be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its name.
    pub id: Id,
    /// The version of its kind.
    pub version: String,
    /// What it says.
    pub value: Value,
    /// Who says it.
    pub origin: Origin,
}

impl Object {
    /// The group and version as `apiVersion` has them.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.id.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.id.group, self.version) }
    }

    /// Marks the object as this tool's.
    pub(crate) fn mark(&mut self, cluster: &str) {
        let labels = self.value.as_object_mut().and_then(|object| {
            let metadata = object.get_mut("metadata")?.as_object_mut()?;
            let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
            if labels.is_null() {
                *labels = Value::Object(Map::new());
            }
            labels.as_object_mut()
        });
        if let Some(labels) = labels {
            labels.insert(LABEL.to_owned(), cluster.into());
        }
    }
}

/// Why a document is no object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// It lacks something that names it, or has it of a wrong form.
    #[error("{place}: {why}")]
    Nameless {
        /// Where.
        place: Place,
        /// What is wrong.
        why: String,
    },
    /// Two documents are the same object.
    #[error("{second}: {id} is there already, in {first}")]
    Twice {
        /// The object.
        id: Box<Id>,
        /// Where it comes first.
        first: Place,
        /// Where it comes again.
        second: Place,
    },
}

/// Returns the objects of a document: itself, or the items of a `List`.
///
/// # Errors
/// What each of them lacks.
pub fn parse(document: &Document) -> Result<Vec<Object>, Vec<ObjectError>> {
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    gather(document, &document.value, "", &mut objects, &mut errors);
    if errors.is_empty() { Ok(objects) } else { Err(errors) }
}

fn gather(document: &Document, value: &Value, at: &str, objects: &mut Vec<Object>, errors: &mut Vec<ObjectError>) {
    let items = value.get("items").and_then(Value::as_array);
    match (value.get("kind").and_then(Value::as_str), value.get("apiVersion").and_then(Value::as_str), items) {
        (Some("List"), Some("v1"), Some(items)) => {
            for (position, item) in items.iter().enumerate() {
                let at = pointer(&pointer(at, "items"), &position.to_string());
                // One level is all that Kubernetes' own programs write.
                match object(document, item, &at) {
                    Ok(object) => objects.push(object),
                    Err(error) => errors.push(error),
                }
            }
        }
        _ => match object(document, value, at) {
            Ok(object) => objects.push(object),
            Err(error) => errors.push(error),
        },
    }
}

fn object(document: &Document, value: &Value, at: &str) -> Result<Object, ObjectError> {
    let wrong = |key: &str, why: String| {
        let pointer = key.split('/').filter(|key| !key.is_empty()).fold(at.to_owned(), |at, key| pointer(&at, key));
        ObjectError::Nameless { place: document.place_of(&pointer), why }
    };
    let Value::Object(_) = value else {
        return Err(wrong("", "a manifest is a mapping with apiVersion, kind and metadata".to_owned()));
    };
    let text = |path: &str, example: &str| match value.pointer(&format!("/{path}")) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        None | Some(Value::Null) => Err(wrong(path, format!("no {}, such as `{example}`", path.replace('/', ".")))),
        Some(_) => Err(wrong(path, format!("{} is no text, such as `{example}`", path.replace('/', ".")))),
    };
    let api_version = text("apiVersion", "apiVersion: apps/v1")?;
    let kind = text("kind", "kind: Deployment")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if !is_word(group, true) || !is_word(version, false) || !is_word(kind, false) {
        return Err(wrong(
            "apiVersion",
            format!("{api_version} {kind} is no kind, such as `apps/v1` and `Deployment`"),
        ));
    }
    if value.pointer("/metadata/generateName").is_some() && value.pointer("/metadata/name").is_none() {
        let why = "metadata.generateName makes another object each time: write metadata.name";
        return Err(wrong("metadata/generateName", why.to_owned()));
    }
    let name = text("metadata/name", "metadata: { name: web }")?;
    let namespace = match value.pointer("/metadata/namespace") {
        None | Some(Value::Null) => None,
        Some(_) => Some(text("metadata/namespace", "namespace: default")?),
    };
    for (path, part) in [("metadata/name", Some(name)), ("metadata/namespace", namespace)] {
        if part.is_some_and(|part| !is_segment(part)) {
            return Err(wrong(path, format!("{:?} is no name of an object", part.unwrap_or_default())));
        }
    }
    if let Some(labels) = value.pointer("/metadata/labels").filter(|labels| !labels.is_object() && !labels.is_null()) {
        return Err(wrong("metadata/labels", format!("metadata.labels is no mapping: {labels}")));
    }
    Ok(Object {
        id: Id {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        },
        version: version.to_owned(),
        value: value.clone(),
        origin: Origin::File(document.place_of(at)),
    })
}

/// A part of an address of the API server: whatever the kind makes of it, it must not lead elsewhere.
fn is_segment(text: &str) -> bool {
    text.len() <= 253
        && !["", ".", ".."].contains(&text)
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/%?#\\\"<>^`{|}".contains(&byte))
}

fn is_word(text: &str, may_be_empty: bool) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    (may_be_empty || !text.is_empty()) && text.len() <= 253 && text.bytes().all(plain) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::{Object, ObjectError, parse};
    use crate::manifest;

    fn objects(text: &str) -> Result<Vec<Object>, Vec<ObjectError>> {
        let documents = manifest::parse(Path::new("m.yaml"), text).unwrap();
        parse(&documents[0])
    }

    #[track_caller]
    fn refused(text: &str, wanted: &str) {
        let errors = objects(text).unwrap_err();
        assert_eq!(errors[0].to_string(), wanted);
    }

    #[test]
    fn an_object_is_named_by_group_kind_namespace_and_name() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web, namespace: shop }\n";
        let object = &objects(text).unwrap()[0];
        assert_eq!((object.id.group.as_str(), object.version.as_str()), ("apps", "v1"));
        assert_eq!((object.id.to_string(), object.api_version()), ("Deployment shop/web".into(), "apps/v1".into()));
        let core = &objects("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n").unwrap()[0];
        assert_eq!((core.id.to_string(), core.api_version()), ("Namespace shop".into(), "v1".into()));
    }

    #[test]
    fn a_list_is_its_items() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata:\n    name: a\n\
                    - apiVersion: v1\n  kind: Secret\n  metadata:\n    name: b\n";
        let found: Vec<String> =
            objects(text).unwrap().iter().map(|object| format!("{} {}", object.origin, object.id)).collect();
        assert_eq!(found, ["m.yaml:4 Secret a", "m.yaml:8 Secret b"]);
        refused(
            "apiVersion: v1\nkind: List\nitems:\n- x\n",
            "m.yaml:4: a manifest is a mapping with apiVersion, kind and metadata",
        );
    }

    #[test]
    fn what_names_nothing_is_refused_with_its_line() {
        refused("- 1\n", "m.yaml:1: a manifest is a mapping with apiVersion, kind and metadata");
        refused("kind: Secret\n", "m.yaml:1: no apiVersion, such as `apiVersion: apps/v1`");
        refused("apiVersion: v1\n", "m.yaml:1: no kind, such as `kind: Deployment`");
        refused("apiVersion: v1\nkind: 5\n", "m.yaml:2: kind is no text, such as `kind: Deployment`");
        refused("apiVersion: a/b/c\nkind: X\n", "m.yaml:1: a/b/c X is no kind, such as `apps/v1` and `Deployment`");
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n",
            "m.yaml:3: no metadata.name, such as `metadata: { name: web }`",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-\n",
            "m.yaml:4: metadata.generateName makes another object each time: write metadata.name",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: ../nodes\n",
            "m.yaml:4: \"../nodes\" is no name of an object",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata: { name: a, namespace: a/b }\n",
            "m.yaml:3: \"a/b\" is no name of an object",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: [a]\n",
            "m.yaml:5: metadata.labels is no mapping: [\"a\"]",
        );
    }

    #[test]
    fn the_mark_is_a_label_beside_the_others() {
        for labels in ["", ", labels: { app: web }", ", labels: null"] {
            let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{ name: a{labels} }}\n");
            let mut object = objects(&text).unwrap().remove(0);
            object.mark("magi");
            assert_eq!(object.value["metadata"]["labels"]["machinist.dev/cluster"], "magi", "{labels}");
        }
    }
}
