//! Drain of a node's instances in the service mesh before it goes down, and undrain afterwards. The node's agent does
//! the work; these functions only send it requests.

use std::time::Duration;

use machinist_remote::Remote;

use crate::{
    script::{self, INSTANCES},
    step::{StepError, run},
};

/// Time limit beyond the instances' own drain time: etcd confirms, and the other nodes receive the change.
const MARGIN: Duration = Duration::from_secs(30);

/// Takes all instances of the node out of the mesh, waits until their connections are closed, each for at most its own
/// `drainSeconds`, and returns their names. `longest` is the time limit for all.
///
/// # Errors
/// The connection fails, or an instance cannot be taken out, because etcd did not confirm.
pub fn leave(remote: &dyn Remote, longest: Duration) -> Result<Vec<String>, StepError> {
    ask(remote, "drain", longest + MARGIN)
}

/// Puts all healthy instances of the node back, and returns the names of all.
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
