//! etcd membership and health: what to run on a node and what the answers mean. Pure: nothing is run here.

pub mod etcd;
pub mod membership;
