//! Generated facts of each node, in `generated/`.

use machinist_model::Cluster;

use crate::{certs, context::Context, failure::Failure, project::Generated};

/// Compares `generated/` with machines.nix. Read-only.
///
/// # Errors
/// The cluster's files are invalid.
pub fn compare(context: &Context) -> Result<Generated, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    warn(context, &cluster)?;
    project.generated(&cluster)
}

/// Writes the files that differ, and returns them.
///
/// # Errors
/// The cluster's files are invalid, or a file that machinist did not write is in the way.
pub fn run(context: &Context) -> Result<Generated, Failure> {
    let generated = compare(context)?;
    generated.refuse_foreign()?;
    context.project.write_generated(&generated)?;
    Ok(generated)
}

fn warn(context: &Context, cluster: &Cluster) -> Result<(), Failure> {
    let project = &context.project;
    certs::check_operators(cluster, &context.events)?;
    let mut lines = certs::trouble(&project.certs(), cluster, context.clock.now())?;
    lines.extend(certs::hosts::trouble(project, cluster, context.clock.now())?);
    for line in lines {
        context.events.warn(line);
    }
    for conflict in project.conflicts(cluster)? {
        context.events.warn(format!("the running cluster cannot take this, a deploy refuses it: {conflict}"));
    }
    Ok(())
}
