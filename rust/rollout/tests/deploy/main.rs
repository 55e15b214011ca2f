//! The deploy loop, run from its first query to its report, on a cluster of fake hosts.
#![allow(clippy::unwrap_used, missing_docs)]

mod boot;
mod bootstrap;
mod environment;
mod etcd_version;
mod interrupt;
mod lock;
mod preflight;
mod quorum;
mod reboot;
mod resume;
mod silent;
mod waves;
