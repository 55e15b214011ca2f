//! Check of machines.nix, and of everything that belongs to it.

use machinist_model::{Cluster, Conflict, Diagnostic};
use serde::Serialize;

use crate::{certs, context::Context, failure::Failure, kubernetes::objects};

/// Result of a check without errors.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Certificates that need attention, in words.
    pub certificates: Vec<String>,
    /// The cluster.
    pub cluster: Cluster,
    /// Changes that the running cluster cannot take.
    pub conflicts: Vec<Conflict>,
    /// Warnings about machines.nix.
    pub warnings: Vec<Diagnostic>,
}

/// Checks the directory. Each problem that does not stop a deploy is also a warning.
///
/// # Errors
/// machines.nix, a manifest or an operator's key is wrong.
pub fn run(context: &Context) -> Result<Checked, Failure> {
    let project = &context.project;
    let loaded = project.load()?;
    // A manifest that cannot be read would stop a deploy.
    objects::desired(project, &loaded.cluster)?;
    certs::check_operators(&loaded.cluster, &context.events)?;
    // Expired and foreign certificates are better found here than in the middle of a deploy.
    let certificates = certs::trouble(&project.certs(), &loaded.cluster, context.clock.now())?;
    for line in &certificates {
        context.events.warn(line);
    }
    let conflicts = project.conflicts(&loaded.cluster)?;
    Ok(Checked { certificates, cluster: loaded.cluster, conflicts, warnings: loaded.warnings })
}
