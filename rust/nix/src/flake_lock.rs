//! Parts of a flake's lock file that determine whether its inputs are pinned.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The relevant part of `flake.lock`.
#[derive(Debug, Deserialize)]
pub(crate) struct Locks {
    nodes: BTreeMap<String, LockNode>,
}

#[derive(Debug, Deserialize)]
struct LockNode {
    locked: Option<Value>,
}

impl Locks {
    /// Returns the reference that each input is locked to.
    pub fn locked(&self) -> Vec<Value> {
        self.nodes.values().filter_map(|node| node.locked.clone()).collect()
    }
}

/// The output of `nix flake metadata --json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) locks: Locks,
}
