//! Hints for missing objects.

use crate::{EXTERNAL, Set};

/// Returns the suggested fix for a missing object.
pub fn missing(set: &Set<'_>, kind: &str, namespace: &str, name: &str) -> String {
    let known = set.items.iter().filter(|item| item.kind == kind && item.namespace == namespace).map(|item| item.name);
    match machinist_model::near::nearest(name, known) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            format!("add it; if it is created elsewhere, set the annotation {}: {kind}/{name}", EXTERNAL)
        }
    }
}
