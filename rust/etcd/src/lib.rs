//! etcd membership, health, data, permissions and upkeep: scripts to run on a node, and parsers of their output. Pure:
//! nothing is run here.

pub mod alarm;
pub mod bolt;
mod copy;
pub mod data;
pub mod etcd;
pub mod membership;
pub mod overlay;
pub mod permissions;
pub mod snapshot;
pub mod stored;
pub mod upgrade;
pub mod upkeep;
pub mod version;
