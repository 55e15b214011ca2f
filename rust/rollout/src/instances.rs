//! The instances of a node in the service mesh: out before it goes down, and in again. The node's agent does it; this only asks.

use std::time::Duration;

use machinist_remote::Remote;

use crate::{
    script::{self, INSTANCES},
    step::{StepError, run},
};

/// How long it may take besides the instances' own time: etcd confirms, and the other nodes hear of it.
const MARGIN: Duration = Duration::from_secs(30);

/// Takes all instances of the node out of the mesh, waits until their connections are gone, each for at most its own
/// `drainSeconds`, and returns their names. `longest` is the bound for all.
///
/// # Errors
/// The connection fails, or an instance cannot be taken out: then etcd did not confirm.
pub fn leave(remote: &dyn Remote, longest: Duration) -> Result<Vec<String>, StepError> {
    ask(remote, "drain", longest + MARGIN)
}

/// Puts all instances of the node in again that are healthy, and returns the names of all.
///
/// # Errors
/// The connection fails, or etcd did not confirm.
pub fn come_back(remote: &dyn Remote) -> Result<Vec<String>, StepError> {
    ask(remote, "undrain", MARGIN)
}

fn ask(remote: &dyn Remote, action: &str, bound: Duration) -> Result<Vec<String>, StepError> {
    let script = script::with(&[("action", action)], INSTANCES);
    let output = run(remote, "ask the node's agent", &script, bound)?;
    Ok(output.stdout_text().lines().map(str::to_owned).collect())
}
