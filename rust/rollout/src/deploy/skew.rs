//! The versions of Kubernetes: what the systems to bring have, and what runs on all nodes.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use machinist_model::NodeName;
use machinist_remote::quote;
use tokio::task::JoinSet;

use super::{Deploy, Host, Hosts, preflight::Deltas};
use crate::{
    preflight::{Problem, ProblemKind},
    skew::{Change, Version, judge},
    step::{self, StepError, gather},
};

/// Where a system says which version it has, in its own folder and in the running one's.
const VERSION: &str = "etc/machinist/kubernetes-version";

impl Deploy {
    /// Returns what the skew policy says against this deploy. Nodes that are no targets are asked only if a version changes:
    /// that is rare, and there may be many.
    pub(super) async fn skew(self: &Arc<Self>, hosts: &Hosts, deltas: &Deltas) -> Vec<Problem> {
        let mut nodes = BTreeMap::new();
        let mut changes = false;
        for (node, host) in hosts {
            let running = host.facts.kubernetes;
            let after = if deltas.contains_key(node) { self.version(host) } else { running };
            changes |= after.is_some() && after != running;
            nodes.insert(node.clone(), self.part(node, running, after));
        }
        if !changes {
            return Vec::new();
        }
        let mut problems = Vec::new();
        for (node, running) in self.others(hosts).await {
            match running {
                Ok(running) => drop(nodes.insert(node.clone(), self.part(&node, running, running))),
                Err(error) => problems.push(Problem {
                    text: format!("its version of Kubernetes is not known: {}", super::chain(&error)),
                    hint: error.hint(),
                    refuses: false,
                    kind: ProblemKind::Skew,
                    node,
                }),
            }
        }
        problems.extend(judge(&nodes));
        problems
    }

    fn part(&self, node: &NodeName, running: Option<Version>, after: Option<Version>) -> Change {
        let control_plane = self.traits.get(node).is_some_and(|traits| traits.control_plane);
        Change { control_plane, running, after }
    }

    /// The version of the system that the host is to run.
    fn version(&self, host: &Host) -> Option<Version> {
        let system = host.target.system.as_str();
        if !self.from_host {
            return Version::parse(&fs::read_to_string(Path::new(system).join(VERSION)).ok()?);
        }
        let script = format!("cat {} 2>/dev/null || true", quote(&format!("{system}/{VERSION}")));
        let output = step::run(&*host.remote, "read the version of Kubernetes", &script, Duration::from_secs(30));
        Version::parse(&output.ok()?.stdout_text())
    }

    /// Asks all nodes at once that are no targets.
    async fn others(self: &Arc<Self>, hosts: &Hosts) -> Vec<(NodeName, Result<Option<Version>, StepError>)> {
        let mut tasks = JoinSet::new();
        for node in self.traits.keys().filter(|node| !hosts.contains_key(*node)).cloned() {
            let this = Arc::clone(self);
            tasks.spawn_blocking(move || {
                let asked = this.connector.connect(&node).map_err(StepError::from);
                let version = asked.and_then(|remote| Ok(gather(&*remote)?.kubernetes));
                (node, version)
            });
        }
        tasks.join_all().await
    }
}
