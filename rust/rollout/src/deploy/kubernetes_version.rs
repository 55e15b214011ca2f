//! Version skew of Kubernetes between the systems to deploy and the running nodes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use machinist_model::NodeName;
use machinist_remote::quote;

use super::{
    host::{Host, Hosts},
    preflight::Deltas,
    run::Deploy,
};
use crate::{
    kubernetes_version::{Change, Version, skew_problems},
    problem::Problem,
    step::{
        self,
        versions::{VERSION, ask_versions, version_of},
    },
};

impl Deploy {
    /// Returns the violations of the skew policy by this deploy. Nodes that are not targets are queried only if a
    /// version changes: that is rare, and there may be many nodes.
    pub(super) async fn version_skew(self: &Arc<Self>, hosts: &Hosts, deltas: &Deltas) -> Vec<Problem> {
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
        let others = self.topology().traits.keys().filter(|node| !hosts.contains_key(*node)).cloned();
        let (running, mut problems) = ask_versions(&self.context.connector, others.collect()).await;
        nodes.extend(running.into_iter().map(|(node, running)| (node.clone(), self.part(&node, running, running))));
        problems.extend(skew_problems(&nodes));
        problems
    }

    fn part(&self, node: &NodeName, running: Option<Version>, after: Option<Version>) -> Change {
        let control_plane = self.topology().traits.get(node).is_some_and(|traits| traits.control_plane);
        Change { control_plane, running, after }
    }

    /// Returns the Kubernetes version of the host's target system.
    fn version(&self, host: &Host) -> Option<Version> {
        let system = host.target.system.as_str();
        if !self.request.from_host {
            return version_of(&host.target.system);
        }
        let script = format!("cat {} 2>/dev/null || true", quote(&format!("{system}/{VERSION}")));
        let output = step::run(&*host.remote, "read the version of Kubernetes", &script, Duration::from_secs(30));
        Version::parse(&output.ok()?.stdout_text())
    }
}
