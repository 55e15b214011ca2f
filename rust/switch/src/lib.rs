//! Prediction of what NixOS' `switch-to-configuration` does when a machine goes from one system to another. Pure: both
//! systems come in as data, read elsewhere.
//!
//! [`units`] decides which units stop, start, restart and reload, from the unit files of both systems ([`unit_tree`],
//! [`unit_file`]) and what systemd runs; [`file_systems`](mod@file_systems) adds what a changed fstab requires and
//! [`consequences`](mod@consequences) what systemd makes of it. [`boot`] compares what only a reboot brings into effect,
//! [`closure_diff`](mod@closure_diff) the store paths of two closures.

pub mod boot;
pub mod closure_diff;
pub mod consequences;
pub mod file_systems;
pub mod unit_file;
pub mod unit_tree;
pub mod units;

pub use self::{
    boot::{BootFiles, Reboot},
    closure_diff::{ClosureDiff, Package, VersionChange},
    consequences::{Action, UnitChange},
    unit_tree::UnitTree,
};
