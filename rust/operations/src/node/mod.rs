//! Operations on one node: its vote in etcd, and what it works on.

pub mod drain;
pub mod membership;
pub mod without_vote;
