//! Kubernetes objects: their declaration and their application.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_kubernetes::{
    apply::{self, ApplyError, Options, Outcome as Applied, Problem},
    desired::{self, Desired},
    manifest,
};
use machinist_model::{Cluster, Orchestrator};
use machinist_rollout::deploy::{EtcdEnd, Outcome, Report};

use super::server::Reach;
use crate::{
    event::Event,
    failure::{Failure, Kind},
    project::Project,
    rollout::run::Run,
};

/// Directory of the user's own objects, in the cluster's directory.
const MANIFESTS: &str = "manifests";
/// Timeout for nodes to register during the first deploy of a new cluster.
const REGISTRATION: Duration = Duration::from_secs(10);

/// Returns all declared objects; `None` without Kubernetes. k3s loads its objects from its servers' disks.
///
/// # Errors
/// A manifest is invalid.
pub fn desired(project: &Project, cluster: &Cluster) -> Result<Option<Desired>, Failure> {
    if cluster.orchestrator != Some(Orchestrator::Kubernetes) {
        return Ok(None);
    }
    let documents = manifest::read(&project.directory, MANIFESTS).map_err(|errors| {
        let hint = errors.first().and_then(manifest::ManifestError::hint);
        let texts = errors.iter().map(|error| Failure::from_error(Kind::Input, error).in_one_line());
        Failure::new(Kind::Input, texts.collect::<Vec<_>>().join("\n")).maybe_hint(hint)
    })?;
    let desired = desired::desired(cluster, &documents).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Failure::new(Kind::Input, texts.join("\n"))
    })?;
    Ok(Some(desired))
}

/// Applies the objects at the end of a deploy, if they have changed and the machines are healthy. Returns false if an
/// object was left out because of an error.
pub(crate) fn after_deploy(run: &Run<'_>, report: &Report, desired: &Desired) -> bool {
    let Run { context, cluster, connector, .. } = run;
    let went_wrong = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Reverted { .. });
    let has_quorum = report.etcd.as_ref().is_none_or(EtcdEnd::has_quorum);
    let is_founded = context.project.state().is_ok_and(|state| state.etcd.bootstrapped);
    let is_cut = report.interrupted || report.lost.is_some();
    if is_cut || !has_quorum || !is_founded || report.nodes.values().any(went_wrong) {
        let text = "the objects in Kubernetes were left as they are: first the machines must be well";
        context.events.progress(text);
        return true;
    }
    let begun = Instant::now();
    let options = Options { wait_for_nodes: REGISTRATION, ..Options::default() };
    let reach = Reach { certs: context.project.certs(), cluster, connector, keyring: &context.keyring };
    match bring(&reach, desired, options) {
        Ok(outcome) => {
            let objects = Arc::new(outcome);
            context.events.send(Event::Objects { objects: Arc::clone(&objects), took: begun.elapsed() });
            problems(&objects, desired).into_iter().for_each(|failure| context.events.problem(failure));
            let left = objects.problems.len();
            if left > 0 {
                let noun = if left == 1 { "object was" } else { "objects were" };
                context.events.progress(format!("{left} {noun} not applied; `machinist objects apply` does it again"));
            }
            left == 0
        }
        Err(failure) => {
            context.events.problem(
                failure
                    .hint("the machines are as the deploy left them: `machinist objects apply` does this part again"),
            );
            false
        }
    }
}

/// Applies the objects to the cluster.
///
/// # Errors
/// No API server is ready, or no object could be applied.
pub fn bring(reach: &Reach<'_>, desired: &Desired, options: Options) -> Result<Applied, Failure> {
    reach.with_server(|server| async move { apply::apply(&server, desired, &options).await.map_err(failure) })
}

/// Converts an error of the API servers into a failure.
#[must_use]
pub fn failure(error: ApplyError) -> Failure {
    let kind = if matches!(error, ApplyError::UnknownKinds(_)) { Kind::Input } else { Kind::Failed };
    Failure::from_error(kind, &error).maybe_hint(error.hint())
}

/// Returns the objects that the API server refused, with the reason.
#[must_use]
pub fn problems(outcome: &Applied, desired: &Desired) -> Vec<Failure> {
    let failure =
        |problem: &Problem| Failure::from_error(Kind::Failed, problem).maybe_hint(problem.hint(&desired.cluster));
    outcome.problems.iter().map(failure).collect()
}
