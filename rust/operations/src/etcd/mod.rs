//! Operations on etcd: its members, its data, its snapshots, its upkeep, and its return from a snapshot.

pub mod data;
pub mod members;
pub mod restore;
mod session;
pub mod snapshots;
pub mod upkeep;
