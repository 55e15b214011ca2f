//! Operations on etcd: members, data, snapshots, upkeep and restore.

pub mod data;
pub mod members;
pub mod restore;
mod session;
pub mod snapshots;
pub mod upkeep;
pub mod verify;
