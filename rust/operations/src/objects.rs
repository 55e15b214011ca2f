//! Objects in Kubernetes: what the API servers hold, against what machines.nix and `manifests/` say.

use std::time::Duration;

use machinist_kubernetes::{
    apply::{Options, Outcome},
    desired::Desired,
    diff::{self, Comparison},
};
use machinist_model::Cluster;

use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    kubernetes::{
        self,
        objects::{bring, failure, problems},
        server::Reach,
    },
};

/// Returns all objects that should be in the cluster. No host is contacted.
///
/// # Errors
/// The cluster runs no Kubernetes, or a manifest is wrong.
pub fn show(context: &Context) -> Result<Desired, Failure> {
    desired(context).map(|(_, desired)| desired)
}

/// Difference between the cluster's objects and those that should be there.
#[derive(Debug)]
pub struct Difference {
    /// The differences.
    pub comparison: Comparison,
    /// Errors of the API server.
    pub problems: Vec<Failure>,
}

/// Compares, by the API server's own words. Nothing is changed.
///
/// # Errors
/// No API server is ready.
pub fn compare(context: &Context) -> Result<Difference, Failure> {
    let (cluster, desired) = desired(context)?;
    let connector = connect::connector(context, &cluster, None)?;
    let certs = context.project.certs();
    let reach = Reach { certs, cluster: &cluster, connector: &connector, keyring: &context.keyring };
    let wanted = &desired;
    let comparison =
        reach.with_server(|server| async move { diff::compare(&server, wanted).await.map_err(failure) })?;
    let problems = comparison.problems.iter();
    let problems = problems
        .map(|problem| Failure::from_error(Kind::Failed, problem).maybe_hint(problem.hint(&desired.cluster)))
        .collect();
    Ok(Difference { comparison, problems })
}

/// Options of an apply.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Also removes objects that hold data once they are no longer declared.
    pub prune_data: bool,
    /// Time to wait for nodes that have not registered yet.
    pub wait_for_nodes: Duration,
}

/// Result of an apply.
#[derive(Debug)]
pub struct Applied {
    /// Each object's change.
    pub outcome: Outcome,
    /// Errors of the API server.
    pub problems: Vec<Failure>,
}

/// Applies all objects, and removes what was applied and is no longer declared.
///
/// # Errors
/// No API server is ready, or nothing could be applied.
pub fn apply(context: &Context, request: &Request) -> Result<Applied, Failure> {
    let (cluster, desired) = desired(context)?;
    let connector = connect::connector(context, &cluster, None)?;
    let certs = context.project.certs();
    let reach = Reach { certs, cluster: &cluster, connector: &connector, keyring: &context.keyring };
    let Request { prune_data, wait_for_nodes } = *request;
    let outcome = bring(&reach, &desired, Options { thorough: true, prune_data, wait_for_nodes })?;
    let problems = problems(&outcome, &desired);
    Ok(Applied { outcome, problems })
}

fn desired(context: &Context) -> Result<(Cluster, Desired), Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    match kubernetes::objects::desired(project, &cluster)? {
        Some(desired) => Ok((cluster, desired)),
        None => Err(kubernetes::missing(&cluster, "no objects were looked at", |server| {
            format!(
                "its servers apply services.k3s.manifests of nodes/NAME.nix; by hand: `ssh {server} k3s kubectl apply -f -`"
            )
        })),
    }
}
