//! Options of all operations that change machines.

use std::time::Duration;

use machinist_remote::Fingerprint;
use machinist_rollout::{
    deploy::Policy,
    plan::PlanFile,
    step::activate::Bounds,
    waves::{Limit, Reboots, Spread},
};

/// How systems are brought to machines.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds of what happens on a host.
    pub bounds: Bounds,
    /// What a run may do.
    pub policy: Policy,
    /// Which nodes are rebooted after they have changed, if that was said. It wins over what a resumed run had.
    pub reboots: Option<Reboots>,
    /// Fingerprint of a host key that replaces the pinned one.
    pub accept_host_key: Option<Fingerprint>,
}

impl Default for Options {
    fn default() -> Self {
        let bounds = Bounds {
            activation: Duration::from_secs(300),
            confirmation: Duration::from_secs(120),
            reboot: Duration::from_secs(600),
        };
        Self { bounds, policy: Policy::default(), reboots: None, accept_host_key: None }
    }
}

impl Options {
    /// The same, with one node after the other unless something else is asked for.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.policy.spread.max_unavailable.get_or_insert(Limit::Nodes(1));
        self
    }

    /// The order is the plan's own, and a resumed run reboots what it was to reboot, unless that is said again.
    pub(crate) fn spread(&self, planned: Option<&PlanFile>, before: Option<Reboots>) -> Spread {
        let mut spread = planned.map_or_else(|| self.policy.spread.clone(), |plan| plan.spread.clone());
        if let (None, Some(before)) = (self.reboots, before) {
            spread.reboots = before;
        }
        spread
    }
}
