//! Check of machines.nix and of everything that belongs to it.

use machinist_model::{Cluster, Conflict, Diagnostic};
use serde::Serialize;

use crate::{certs, context::Context, failure::Failure, kubernetes::objects};

/// Result of a check of a cluster's directory without errors.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Descriptions of certificates that need attention.
    pub certificates: Vec<String>,
    /// Cluster described by machines.nix.
    pub cluster: Cluster,
    /// Changes that are unsafe for the running cluster.
    pub conflicts: Vec<Conflict>,
    /// Warnings about machines.nix.
    pub warnings: Vec<Diagnostic>,
}

/// Checks the directory. Certificates that need attention are also reported as warnings.
///
/// # Errors
/// machines.nix, a manifest or an operator's key is invalid.
pub fn run(context: &Context) -> Result<Checked, Failure> {
    let project = &context.project;
    // Before `provision`, too.
    let loaded = project.load_planned()?;
    // A manifest that cannot be read would stop a deploy.
    objects::desired(project, &loaded.cluster)?;
    certs::check_operators(&loaded.cluster, &context.events)?;
    // Expired and unexpected certificates should be found here instead of in the middle of a deploy.
    let mut certificates = certs::trouble(&project.certs(), &loaded.cluster, context.clock.now())?;
    certificates.extend(certs::hosts::trouble(project, &loaded.cluster, context.clock.now())?);
    for line in &certificates {
        context.events.warn(line);
    }
    let conflicts = project.conflicts(&loaded.cluster)?;
    Ok(Checked { certificates, cluster: loaded.cluster, conflicts, warnings: loaded.warnings })
}
