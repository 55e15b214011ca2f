//! Kubernetes versions of systems and nodes.

use std::{collections::BTreeMap, fs, path::Path};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use tokio::task::JoinSet;

use super::{Connector, StepError, gather};
use crate::{
    kubernetes_version::Version,
    problem::{Problem, ProblemKind},
    text::chain,
};

/// Path of a system's version file, relative to the system.
pub(crate) const VERSION: &str = "etc/machinist/kubernetes-version";

/// Returns the version of a system in the local store.
pub(crate) fn version_of(system: &StorePath) -> Option<Version> {
    Version::parse(&fs::read_to_string(Path::new(system.as_str()).join(VERSION)).ok()?)
}

/// Queries the running version of all nodes concurrently. A node that does not report one is a problem, but not a
/// refusal.
pub(crate) async fn ask_versions(
    connector: &Connector,
    nodes: Vec<NodeName>,
) -> (BTreeMap<NodeName, Option<Version>>, Vec<Problem>) {
    let mut tasks = JoinSet::new();
    for node in nodes {
        let connector = connector.clone();
        tasks.spawn_blocking(move || {
            let asked = connector.connect(&node).map_err(StepError::from);
            let version = asked.and_then(|remote| Ok(gather(&*remote)?.kubernetes));
            (node, version)
        });
    }
    let (mut versions, mut problems) = (BTreeMap::new(), Vec::new());
    for (node, version) in tasks.join_all().await {
        match version {
            Ok(version) => drop(versions.insert(node, version)),
            Err(error) => problems.push(Problem {
                text: format!("its version of Kubernetes is not known: {}", chain(&error)),
                hint: error.hint(),
                refuses: false,
                kind: ProblemKind::Skew,
                node,
            }),
        }
    }
    (versions, problems)
}
