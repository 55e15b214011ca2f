//! Connected hosts of a deploy, with their facts.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use machinist_remote::Remote;

use crate::{HostFacts, target::Target};

/// A connected host with known facts.
pub(super) struct Host {
    pub target: Target,
    pub remote: Arc<dyn Remote>,
    pub facts: HostFacts,
    /// The changes that take effect only after a reboot, in words.
    pub due: Vec<String>,
}

impl Host {
    /// Returns true if it runs and boots its target system, and has all keys of that system.
    pub fn is_ready(&self) -> bool {
        self.facts.is_on(&self.target.system) && self.target.keys.iter().all(|key| self.facts.keys.contains(key))
    }
}

pub(super) type Hosts = BTreeMap<NodeName, Arc<Host>>;
