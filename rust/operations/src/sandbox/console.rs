//! Consoles of sandbox machines, for the report on one that does not come back.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use machinist_model::{Cluster, NodeName, Provider};
use machinist_rollout::deploy::Console;
use machinist_sandbox as sandbox;

use crate::project::Project;

/// Consoles of a cluster's sandbox machines.
struct Consoles {
    state: PathBuf,
    machines: BTreeSet<NodeName>,
}

impl Console for Consoles {
    fn last_words(&self, node: &NodeName) -> Option<String> {
        self.machines.contains(node).then(|| sandbox::console(&self.state, node.as_str()))?
    }
}

/// Returns the consoles that this computer can read: those of the cluster's machines in the sandbox.
#[must_use]
pub fn consoles(project: &Project, cluster: &Cluster) -> Option<Arc<dyn Console>> {
    let own = cluster.nodes.values().filter(|node| node.provider == Provider::Sandbox);
    let machines: BTreeSet<NodeName> = own.map(|node| node.name.clone()).collect();
    let consoles = Consoles { state: super::state_dir(project, cluster), machines };
    (!consoles.machines.is_empty()).then(|| Arc::new(consoles) as Arc<dyn Console>)
}
