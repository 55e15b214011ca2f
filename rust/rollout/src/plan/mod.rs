//! What a deploy would change, told without changing anything: no path is copied, no key is put, nothing is activated.
//!
//! [`survey`] asks all hosts at once; everything else here is pure: [`units`] decides what a switch does, from the unit
//! files of both systems and what systemd runs, [`consequences`](mod@consequences) what systemd makes of it,
//! [`closure_diff`](mod@closure_diff) compares store paths, [`boot`] what only a reboot brings, [`quorum`] says what it
//! means for etcd.

pub mod boot;
mod changes;
pub mod closure_diff;
pub mod consequences;
pub mod file;
pub mod file_systems;
pub mod inspect;
pub mod quorum;
mod survey;
pub mod unit_file;
pub mod unit_tree;
pub mod units;

pub use self::{
    boot::{BootFiles, Reboot},
    changes::{Changes, FullBoot, NodePlan, Plan},
    closure_diff::{ClosureDiff, Package, VersionChange},
    consequences::{Action, UnitChange},
    file::{PlanFile, PlanFileError, Planned},
    quorum::{QuorumRisk, Verdict},
    survey::Survey,
};
