//! The hint about an object that is not there.

use crate::{EXTERNAL, Set};

/// What to do about an object that is not there.
pub fn missing(set: &Set<'_>, kind: &str, namespace: &str, name: &str) -> String {
    let known = set.items.iter().filter(|item| item.kind == kind && item.namespace == namespace).map(|item| item.name);
    match machinist_model::near::nearest(name, known) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            format!("add it, or, where somebody else makes it, write the annotation {}: {kind}/{name} there", EXTERNAL)
        }
    }
}
