//! Hosts of a deploy: connected, with what is true there.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use machinist_remote::Remote;

use crate::{HostFacts, target::Target};

/// A host that is connected and known.
pub(super) struct Host {
    pub target: Target,
    pub remote: Arc<dyn Remote>,
    pub facts: HostFacts,
    /// What only a reboot would bring there, in words.
    pub due: Vec<String>,
}

impl Host {
    /// Whether it runs and boots what it is to, with the keys for that.
    pub fn is_ready(&self) -> bool {
        self.facts.is_on(&self.target.system) && self.target.keys.iter().all(|key| self.facts.keys.contains(key))
    }
}

pub(super) type Hosts = BTreeMap<NodeName, Arc<Host>>;
