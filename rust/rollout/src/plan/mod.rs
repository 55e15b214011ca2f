//! Plan of a deploy, without any change to the hosts: no path is copied, no key is installed, nothing is activated.
//!
//! [`Survey`] queries all hosts concurrently; [`machinist_switch`] predicts the effects of a switch there, and
//! [`quorum`] those on etcd.

mod changes;
pub mod file;
pub mod inspect;
pub mod quorum;
mod survey;

pub use self::{
    changes::{Changes, FullBoot, NodePlan, Plan, PlannedBoot},
    file::{PlanFile, PlanFileError, Planned},
    quorum::{QuorumRisk, Verdict},
    survey::Survey,
};
pub use machinist_switch::{Action, BootFiles, Bytes, ClosureDiff, Package, Reboot, UnitChange, VersionChange};
