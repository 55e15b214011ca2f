//! A deploy: gather, plan, lock, copy, then wave after wave.

mod deliver;
mod host;
mod kubernetes_version;
mod leader;
mod lock;
mod preflight;
mod reboot;
mod revert;
mod roll;
mod run;
mod welcome;

pub use self::run::{Deploy, DeployError, KeySource, Policy, Workload};
pub use crate::{
    outcome::{EtcdEnd, Outcome, Report, Verdict},
    target::{Target, Traits},
};
