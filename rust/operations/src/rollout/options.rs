//! Options shared by all operations that change machines.

use machinist_remote::Fingerprint;
use machinist_rollout::{
    deploy::Policy,
    plan::PlanFile,
    waves::{Limit, Reboots, Spread},
};

/// Rollout options.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Policy of the rollout.
    pub policy: Policy,
    /// Requested reboots after a change, if given. They override those of a resumed run.
    pub reboots: Option<Reboots>,
    /// Fingerprint of a host key that replaces the pinned one.
    pub accept_host_key: Option<Fingerprint>,
}

impl Options {
    /// Returns the options with one node after the other as the default.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.policy.spread.max_unavailable.get_or_insert(Limit::Nodes(1));
        self
    }

    /// Returns the plan's own distribution over waves, with a resumed run's reboots unless others were requested.
    pub(crate) fn spread(&self, planned: Option<&PlanFile>, before: Option<Reboots>) -> Spread {
        let mut spread = planned.map_or_else(|| self.policy.spread.clone(), |plan| plan.spread.clone());
        if let (None, Some(before)) = (self.reboots, before) {
            spread.reboots = before;
        }
        spread
    }
}
