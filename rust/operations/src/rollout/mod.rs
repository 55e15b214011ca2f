//! Systems on their way to machines: what all operations that change machines share.

pub(crate) mod end;
pub mod job;
pub(crate) mod membership;
pub mod options;
pub(crate) mod planned;
pub mod run;
pub(crate) mod runs;
pub mod target;
pub mod verdict;
