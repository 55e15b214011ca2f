//! Prediction of what NixOS' `switch-to-configuration` does when a machine switches from one system to another. Pure:
//! the caller reads both systems and passes them in as data.
//!
//! [`units`] decides which units stop, start, restart and reload, from the unit files of both systems ([`unit_tree`],
//! [`unit_file`]) and the units that systemd runs; [`file_systems`](mod@file_systems) adds the effects of a changed
//! fstab and [`consequences`](mod@consequences) those of systemd's dependencies. [`boot`] compares what takes effect
//! only after a reboot, [`boot_only`](mod@boot_only) what makes a switch impossible, [`closure_diff`](mod@closure_diff)
//! the store paths of two closures.

pub mod boot;
pub mod boot_only;
pub mod closure_diff;
pub mod consequences;
pub mod file_systems;
pub mod unit_file;
pub mod unit_tree;
pub mod units;

pub use self::{
    boot::{BootFiles, Reboot},
    boot_only::SwitchFiles,
    closure_diff::{Bytes, ClosureDiff, Package, SizedPath, VersionChange},
    consequences::{Action, UnitChange},
    unit_tree::UnitTree,
};
