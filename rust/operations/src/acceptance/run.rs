//! Scripts on nodes.

use std::time::Duration;

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError, Request};

use crate::failure::words;

/// Time limit of a script that only looks.
pub(super) const LOOK: Duration = Duration::from_secs(30);

/// Runs a script that must succeed, and returns its output.
///
/// # Errors
/// The description of the failure, without the node's name.
pub(super) fn output(node: &NodeName, remote: &dyn Remote, script: Request<'_>) -> Result<String, String> {
    let failed = |error: RemoteError| words(node, &error);
    remote.run_checked(script).map(|output| output.stdout_text()).map_err(failed)
}
