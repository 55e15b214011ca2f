//! Objects in Kubernetes: what should be there, and how it gets there.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use machinist_kubernetes::{
    apply::{self, ApplyError, Options, Outcome as Applied},
    desired::{self, Desired},
    manifest,
};
use machinist_model::{Cluster, Orchestrator};
use machinist_rollout::step::Connector;

use super::{report, server::Reach};
use crate::{
    args::Global,
    failure::{Failure, Kind},
    project::Project,
    ui::Ui,
};

/// Where a person's own objects are, in the cluster's directory.
const MANIFESTS: &str = "manifests";
/// How long nodes may take to register when a deploy brings objects to a new cluster.
const REGISTRATION: Duration = Duration::from_secs(10);

/// Returns all that should be in the cluster; `None` without Kubernetes. k3s takes its objects from its servers' disks.
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

/// The end of a deploy: brings the objects if they have changed. Returns whether all is well.
pub fn after_deploy(
    project: &Project,
    cluster: &Cluster,
    connector: &Connector,
    global: &Global,
    desired: &Desired,
    ui: Ui,
) -> bool {
    let begun = Instant::now();
    let options = Options { wait_for_nodes: REGISTRATION, ..Options::default() };
    match bring(&Reach { certs: project.certs(), cluster, connector, global }, desired, options) {
        Ok(outcome) => {
            report::after_deploy(&outcome, begun.elapsed(), ui);
            problems(&outcome, desired, ui) == ExitCode::SUCCESS
        }
        Err(failure) => {
            ui.failure(
                &failure
                    .hint("the machines are as the deploy left them: `machinist objects apply` does this part again"),
            );
            false
        }
    }
}

/// Brings the objects to the cluster.
pub fn bring(reach: &Reach<'_>, desired: &Desired, options: Options) -> Result<Applied, Failure> {
    reach.with_server(|server| async move { apply::apply(&server, desired, &options).await.map_err(failure) })
}

/// What the API servers said, as a failure.
pub fn failure(error: ApplyError) -> Failure {
    let kind = if matches!(error, ApplyError::UnknownKinds(_)) { Kind::Input } else { Kind::Failed };
    Failure::from_error(kind, &error).maybe_hint(error.hint())
}

/// Says what the server refused.
pub fn problems(outcome: &Applied, desired: &Desired, ui: Ui) -> ExitCode {
    for problem in &outcome.problems {
        ui.failure(&Failure::from_error(Kind::Failed, problem).maybe_hint(problem.hint(&desired.cluster)));
    }
    match outcome.problems.len() {
        0 => ExitCode::SUCCESS,
        count => {
            if !ui.json {
                let noun = if count == 1 { "object was" } else { "objects were" };
                ui.story(&format!("{count} {noun} not applied; `machinist objects apply` does it again"));
            }
            ExitCode::from(Kind::Failed.code())
        }
    }
}
