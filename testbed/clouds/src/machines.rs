//! Calls of the command that makes machines: `--machines COMMAND`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::Provider;

/// The end of a command: the reason if it failed.
pub type Outcome = Result<(), String>;

/// Events of a machine that end an action, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The cloud.
    pub provider: Provider,
    /// The action that waits for it.
    pub action: u64,
    /// The server or droplet.
    pub server: u64,
    /// Documents for the command's standard input, one call each.
    pub events: Vec<Value>,
    /// The command has been started, in this process.
    #[serde(skip)]
    pub started: bool,
}
