//! Parts of a flake's lock file that determine whether its inputs are pinned.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The relevant part of `flake.lock`.
#[derive(Debug, Deserialize)]
pub(crate) struct Locks {
    nodes: BTreeMap<String, LockNode>,
    #[serde(default)]
    root: String,
}

#[derive(Debug, Deserialize)]
struct LockNode {
    /// Name mapped to the input's node, or to the path of the input that it follows.
    #[serde(default)]
    inputs: BTreeMap<String, Value>,
    locked: Option<Value>,
}

impl Locks {
    /// Returns the reference that each input is locked to.
    pub fn locked(&self) -> Vec<Value> {
        self.nodes.values().filter_map(|node| node.locked.clone()).collect()
    }

    /// Returns the reference that an input of the flake itself is locked to.
    pub fn input(&self, name: &str) -> Option<&Value> {
        let node = self.nodes.get(&self.root)?.inputs.get(name)?.as_str()?;
        self.nodes.get(node)?.locked.as_ref()
    }
}

/// The output of `nix flake metadata --json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) locks: Locks,
}
