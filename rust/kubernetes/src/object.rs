//! Kubernetes objects, their identity, and the fields that a document needs to be one.

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::manifest::{Document, Place, pointer};

/// The label that marks an object as managed by machinist; its value is the cluster's name. Objects without it are
/// never forced or deleted.
pub const LABEL: &str = "machinist.dev/cluster";

/// Identity of an object in a cluster. Independent of the API version: one object may be read in several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace, if the object sets one.
    pub namespace: Option<String>,
    /// The object's name.
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

/// Source of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Generated from machines.nix.
    Generated,
    /// A manifest of the user.
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

/// A desired object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Identity of the object.
    pub id: Id,
    /// The API version of its kind, without the group.
    pub version: String,
    /// The complete object, as applied.
    pub value: Value,
    /// The manifest or machines.nix entry that declares it.
    pub origin: Origin,
}

impl Object {
    /// Returns group and version in the form of `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.id.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.id.group, self.version) }
    }

    /// Adds machinist's label.
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

/// Error in a document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// A field that identifies the object is missing or malformed.
    #[error("{place}: {why}")]
    Nameless {
        /// Line of the field, or of its nearest parent.
        place: Place,
        /// The problem, with an example.
        why: String,
    },
    /// Two documents define the same object.
    #[error("{second}: {id} is also defined in {first}")]
    Twice {
        /// Identity of the object.
        id: Box<Id>,
        /// Line of the first definition.
        first: Place,
        /// Line of the second definition.
        second: Place,
    },
}

/// Returns the objects of a document: itself, or the items of a `List`.
///
/// # Errors
/// The problem of each invalid object.
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
                // Kubernetes' own programs do not nest lists.
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
        None | Some(Value::Null) => {
            Err(wrong(path, format!("missing {}, such as `{example}`", path.replace('/', "."))))
        }
        Some(_) => {
            let why = format!("{} must be a string, such as `{example}`", path.replace('/', "."));
            Err(wrong(path, why))
        }
    };
    let api_version = text("apiVersion", "apiVersion: apps/v1")?;
    let kind = text("kind", "kind: Deployment")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if !is_word(group, true) || !is_word(version, false) || !is_word(kind, false) {
        return Err(wrong(
            "apiVersion",
            format!("invalid apiVersion or kind: {api_version} {kind}; expected such as `apps/v1` and `Deployment`"),
        ));
    }
    if value.pointer("/metadata/generateName").is_some() && value.pointer("/metadata/name").is_none() {
        let why = "metadata.generateName creates a new object on each apply: use metadata.name";
        return Err(wrong("metadata/generateName", why.to_owned()));
    }
    let name = text("metadata/name", "metadata: { name: web }")?;
    let namespace = match value.pointer("/metadata/namespace") {
        None | Some(Value::Null) => None,
        Some(_) => Some(text("metadata/namespace", "namespace: default")?),
    };
    for (path, part) in [("metadata/name", Some(name)), ("metadata/namespace", namespace)] {
        if part.is_some_and(|part| !is_segment(part)) {
            return Err(wrong(path, format!("invalid object name {:?}", part.unwrap_or_default())));
        }
    }
    if let Some(labels) = value.pointer("/metadata/labels").filter(|labels| !labels.is_object() && !labels.is_null()) {
        return Err(wrong("metadata/labels", format!("metadata.labels must be a mapping: {labels}")));
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

/// True if the text is safe as a path segment of a request. Kinds may restrict names further; this only keeps the path
/// intact.
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
    fn invalid_objects_are_refused_with_their_line() {
        refused("- 1\n", "m.yaml:1: a manifest is a mapping with apiVersion, kind and metadata");
        refused("kind: Secret\n", "m.yaml:1: missing apiVersion, such as `apiVersion: apps/v1`");
        refused("apiVersion: v1\n", "m.yaml:1: missing kind, such as `kind: Deployment`");
        refused("apiVersion: v1\nkind: 5\n", "m.yaml:2: kind must be a string, such as `kind: Deployment`");
        refused(
            "apiVersion: a/b/c\nkind: X\n",
            "m.yaml:1: invalid apiVersion or kind: a/b/c X; expected such as `apps/v1` and `Deployment`",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n",
            "m.yaml:3: missing metadata.name, such as `metadata: { name: web }`",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-\n",
            "m.yaml:4: metadata.generateName creates a new object on each apply: use metadata.name",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: ../nodes\n",
            "m.yaml:4: invalid object name \"../nodes\"",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata: { name: a, namespace: a/b }\n",
            "m.yaml:3: invalid object name \"a/b\"",
        );
        refused(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: [a]\n",
            "m.yaml:5: metadata.labels must be a mapping: [\"a\"]",
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
