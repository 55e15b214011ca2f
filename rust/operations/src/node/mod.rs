//! Operations on one node: its etcd membership, and its workload.

pub mod drain;
pub mod membership;
mod moving;
mod promotions;
pub mod readdress;
pub mod replacement;
pub mod without_vote;
