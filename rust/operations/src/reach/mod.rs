//! Reach: commands, logs, files, ports and shells of machines, over verified SSH connections.

mod each;
pub mod exec;
pub mod forward;
pub mod journal;
pub mod known_hosts;
pub mod logs;
mod running;
pub mod shell;
pub mod transfer;

pub use self::each::{Missing, Unreachable};
