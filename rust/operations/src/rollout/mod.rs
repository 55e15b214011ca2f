//! Rollout of systems to machines, shared by all operations that change machines.

pub(crate) mod end;
pub mod job;
pub(crate) mod membership;
pub mod options;
pub(crate) mod planned;
pub mod run;
pub(crate) mod runs;
pub mod target;
pub mod verdict;
