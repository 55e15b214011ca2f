//! Outcome of an evaluation and build: the systems, and the nodes that have none.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_nix::StorePath;
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// System of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct System {
    /// Store path of the system.
    pub system: StorePath,
    /// Derivation that it was built from, as far as nix has reported it.
    pub derivation: Option<StorePath>,
    /// True if the inputs of the node are those of its last build, so that nothing was evaluated.
    #[serde(skip)]
    pub cached: bool,
}

/// Nodes that have no system, and the reason.
pub type Failed = (Vec<NodeName>, Failure);

/// Outcome of an evaluation and build.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The systems that were built, or are known from an earlier build.
    pub systems: BTreeMap<NodeName, System>,
    /// The nodes without a system, with the reasons.
    pub failed: Vec<Failed>,
}

impl Attempt {
    /// Returns the systems if no node is without one, else all reasons as one failure.
    ///
    /// # Errors
    /// A node has no system.
    pub fn complete(self) -> Result<BTreeMap<NodeName, System>, Failure> {
        if self.failed.is_empty() { Ok(self.systems) } else { Err(together(self.failed, self.systems.is_empty())) }
    }
}

/// Combines all failures into one. The affected nodes are named unless the only failure is that of all nodes, whose
/// text is then nix' own.
fn together(failed: Vec<Failed>, of_all: bool) -> Failure {
    let is_only = of_all && failed.iter().all(|(_, failure)| failure.kind == Kind::Failed) && failed.len() == 1;
    let told = |(nodes, failure): &Failed| {
        let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
        let about = if is_only { String::new() } else { format!("{}: ", names.join(", ")) };
        format!("{about}{}", failure.message)
    };
    let message = failed.iter().map(told).collect::<Vec<_>>().join("\n");
    let mut whole = Failure::new(Kind::Failed, message);
    for (_, Failure { kind, causes, hints, .. }) in failed {
        if kind == Kind::Refused {
            whole.kind = kind;
        }
        whole.causes.extend(causes);
        for hint in hints {
            if !whole.hints.contains(&hint) {
                whole.hints.push(hint);
            }
        }
    }
    whole
}
