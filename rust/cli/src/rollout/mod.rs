//! Systems on their way to machines: what all commands that change machines share.

pub mod args;
pub mod deploy;
mod membership;
mod planned;
pub mod report;
pub mod run;
pub mod runs;
pub mod target;
