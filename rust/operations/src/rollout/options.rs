//! Options of all operations that change machines.

use machinist_remote::Fingerprint;
use machinist_rollout::{
    deploy::Policy,
    plan::PlanFile,
    waves::{Limit, Reboots, Spread},
};

/// Rollout options.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Policy of a run.
    pub policy: Policy,
    /// Nodes to reboot after their change, if the caller chose. It wins over the choice of a resumed run.
    pub reboots: Option<Reboots>,
    /// Fingerprint of a host key that replaces the pinned one.
    pub accept_host_key: Option<Fingerprint>,
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
