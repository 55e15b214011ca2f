//! Connected hosts of a deploy, with their facts.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use machinist_remote::Remote;

use crate::{HostFacts, boot_once::Loader, host::Last, target::Target};

/// A connected host with known facts.
pub(super) struct Host {
    pub target: Target,
    pub remote: Arc<dyn Remote>,
    pub facts: HostFacts,
    /// The changes that take effect only after a reboot, in words.
    pub due: Vec<String>,
    /// The reasons why its target system is booted once, before it is the default, instead of activated: only a boot can
    /// bring it, or it has another kernel and a reboot is wanted.
    pub boots_for: Vec<String>,
    /// Its boot loader, if it is to boot its target system once.
    pub loader: Option<Loader>,
}

impl Host {
    /// Returns a host that runs its target system.
    pub const fn now(target: Target, remote: Arc<dyn Remote>, facts: HostFacts, due: Vec<String>) -> Self {
        Self { target, remote, facts, due, boots_for: Vec::new(), loader: None }
    }

    /// Returns the record of an unfinished trial of its target system.
    pub fn tried(&self) -> Option<&Last> {
        self.facts.trial().filter(|last| last.new.as_ref() == Some(&self.target.system))
    }

    /// Returns true if it has booted its target system, which has not been confirmed yet.
    pub fn is_on_trial(&self) -> bool {
        self.facts.on_trial() == Some(&self.target.system)
    }

    /// Returns true if its target system is booted, instead of activated while the host runs.
    pub fn boots(&self) -> bool {
        !self.boots_for.is_empty() || self.is_on_trial()
    }

    /// Returns true if it runs and boots its target system, and has all keys of that system.
    pub fn is_ready(&self) -> bool {
        self.facts.is_on(&self.target.system) && self.target.keys.iter().all(|key| self.facts.keys.contains(key))
    }
}

pub(super) type Hosts = BTreeMap<NodeName, Arc<Host>>;
