//! Drift: differences from the last deploy and from the directory. Read-only.

use std::collections::BTreeMap;

use machinist_model::{Cluster, NodeName};
use machinist_nix::StorePath;
use machinist_remote::Remote;
use machinist_rollout::{
    HostFacts,
    drift::{self, Finding},
    plan::BootFiles,
    step::StepError,
};
use serde::Serialize;

use crate::{
    connect,
    context::Context,
    failure::{self, Failure, OrFail as _},
    query::{self, Asked},
    systems::{self, Building},
};

/// Request for a drift report.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// Compares only with the last deploy; builds nothing.
    pub recorded: bool,
}

/// Drift of the cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Each node's drift.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Descriptions of etcd members that are missing from machines.nix.
    pub unmanaged_etcd_members: Vec<String>,
}

/// Drift of a node.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Node {
    /// The host answered.
    Answers(Box<Drift>),
    /// The host did not answer.
    Silent {
        /// Reason, with its causes.
        why: String,
        /// Hint for a fix.
        hint: Option<String>,
    },
}

/// Systems of a machine, and the differences between them.
#[derive(Debug, Serialize)]
pub struct Drift {
    /// Running system.
    pub running: Option<StorePath>,
    /// System of the next boot.
    pub profile: Option<StorePath>,
    /// System confirmed by the last deploy.
    pub confirmed: Option<StorePath>,
    /// System that the directory evaluates to; null if it was not built.
    pub expected: Option<StorePath>,
    /// Booted kernel, initrd and parameters.
    pub booted: BootFiles,
    /// Differences between these systems, and other unexpected state.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns true if a node did not answer.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, Node::Silent { .. }))
    }

    /// Returns true if a node that answered, or etcd, has drifted.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        let differs = |node: &Node| matches!(node, Node::Answers(drift) if !drift.findings.is_empty());
        self.nodes.values().any(differs) || !self.unmanaged_etcd_members.is_empty()
    }
}

/// Compares the machines.
///
/// # Errors
/// The cluster's files are invalid, or a system cannot be built. A node that does not answer is part of the report.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let cluster = context.project.load()?.cluster;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let expected = if request.recorded { BTreeMap::new() } else { expected(context, &cluster, &nodes)? };
    let connector = connect::connector(context, &cluster, None)?;
    let asked = query::nodes(&nodes, &connector)?;
    let health = query::etcd(&cluster, &asked);
    let unmanaged = health.iter().flat_map(|health| &health.unmanaged);
    let unmanaged_etcd_members = unmanaged.map(ToString::to_string).collect();
    Ok(Report { nodes: compare(asked, &expected)?, unmanaged_etcd_members })
}

/// Returns the systems that the directory evaluates to.
///
/// # Errors
/// A system cannot be built.
pub(crate) fn expected(
    context: &Context,
    cluster: &Cluster,
    nodes: &[NodeName],
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let generated = context.project.generated(cluster)?;
    generated.refuse_foreign()?;
    systems::build_planned(context, &Building::default(), cluster, nodes, &generated)
}

/// Queries all machines concurrently for unexpected state.
fn compare(
    asked: BTreeMap<NodeName, Asked>,
    expected: &BTreeMap<NodeName, StorePath>,
) -> Result<BTreeMap<NodeName, Node>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().failed()?;
    Ok(runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (name, asked) in asked {
            let expected = expected.get(&name).cloned();
            tasks.spawn_blocking(move || {
                let node = asked.and_then(|(remote, facts)| node(&*remote, facts, expected));
                let node = node.unwrap_or_else(|error| silent(&name, &error));
                (name, node)
            });
        }
        tasks.join_all().await.into_iter().collect()
    }))
}

fn node(remote: &dyn Remote, facts: HostFacts, expected: Option<StorePath>) -> Result<Node, StepError> {
    let traces = drift::ask(remote)?;
    let findings = drift::findings(&facts, &traces, expected.as_ref());
    let HostFacts { running, profile, confirmed, .. } = facts;
    let drift = Drift { running, profile, confirmed, expected, booted: traces.booted, findings };
    Ok(Node::Answers(Box::new(drift)))
}

fn silent(node: &NodeName, error: &StepError) -> Node {
    Node::Silent { why: failure::words(node, error), hint: error.hint() }
}
