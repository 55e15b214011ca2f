//! Kubernetes objects: comparison of the API servers' state with machines.nix and `manifests/`.

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

/// Returns all declared objects. Contacts no host.
///
/// # Errors
/// The cluster does not run Kubernetes, or a manifest is invalid.
pub fn show(context: &Context) -> Result<Desired, Failure> {
    desired(context).map(|(_, desired)| desired)
}

/// Difference between the cluster's objects and the declared ones.
#[derive(Debug)]
pub struct Difference {
    /// Differences of the objects.
    pub comparison: Comparison,
    /// Objects that the API server refused to compare, with the reason.
    pub problems: Vec<Failure>,
}

/// Compares the objects by server-side dry run. Read-only.
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

/// Options for applying objects.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Also prunes objects that hold data once they are no longer declared.
    pub prune_data: bool,
    /// Time to wait for nodes that have not registered yet.
    pub wait_for_nodes: Duration,
}

/// Outcome of an update.
#[derive(Debug)]
pub struct Applied {
    /// Change of each object.
    pub outcome: Outcome,
    /// Objects that the API server refused, with the reason.
    pub problems: Vec<Failure>,
}

/// Applies all declared objects, and prunes applied objects that are no longer declared.
///
/// # Errors
/// No API server is ready, or no object could be applied.
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
