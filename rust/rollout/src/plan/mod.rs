//! What a deploy would change, told without changing anything: no path is copied, no key is put, nothing is activated.
//!
//! [`Survey`] asks all hosts at once; [`machinist_switch`] predicts what a switch does there, and [`quorum`] says what it
//! means for etcd.

mod changes;
pub mod file;
pub mod inspect;
pub mod quorum;
mod survey;

pub use self::{
    changes::{Changes, FullBoot, NodePlan, Plan},
    file::{PlanFile, PlanFileError, Planned},
    quorum::{QuorumRisk, Verdict},
    survey::Survey,
};
pub use machinist_switch::{Action, BootFiles, ClosureDiff, Package, Reboot, UnitChange, VersionChange};
