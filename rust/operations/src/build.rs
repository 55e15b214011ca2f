//! Build of the systems, without contacting any host: no SSH, no lock.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use machinist_model::{Cluster, NodeName};
use serde::Serialize;

use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
    systems::{self, Attempt, Building, System},
};

/// Request to build systems.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
    /// Evaluates all systems, including unchanged ones.
    pub no_cache: bool,
    /// Number of evaluators; by default limited by cores and free memory.
    pub eval_workers: Option<NonZeroUsize>,
    /// Directory for a link to each system, by the node's name. The links protect the systems from garbage collection.
    pub out_link: Option<PathBuf>,
}

/// Systems of the targets.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Outcome of each target.
    pub nodes: BTreeMap<NodeName, Node>,
}

/// Outcome of a build for one node.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Node {
    /// The system was evaluated, and built unless the store had it.
    Built(Output),
    /// The node's inputs are those of its last build, so that nothing was evaluated.
    Cached(Output),
    /// The system cannot be evaluated or built.
    Failed(Failure),
}

/// System of a node, and the link to it.
#[derive(Debug, Serialize)]
pub struct Output {
    /// The system and its derivation.
    #[serde(flatten)]
    pub system: System,
    /// Link to the system, if links were requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<PathBuf>,
}

impl Report {
    /// Returns the nodes without a system.
    pub fn failed(&self) -> impl Iterator<Item = (&NodeName, &Failure)> {
        self.nodes.iter().filter_map(|(name, node)| match node {
            Node::Failed(failure) => Some((name, failure)),
            Node::Built(_) | Node::Cached(_) => None,
        })
    }
}

/// Builds the systems that a deploy would deploy, in the same way: a later deploy of the same directory finds them. A
/// build that fails does not stop those of other nodes, and is part of the report.
///
/// # Errors
/// The cluster's files are invalid, a target matches no node, the links cannot be written, or the interrupt was set.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let links = request.out_link.as_deref().map(directory_of_links).transpose()?;
    let generated = project.generated(&cluster)?;
    generated.refuse_foreign()?;
    if !generated.changes.is_empty() {
        let files = generated.changes.len();
        context.events.warn(format!(
            "generated/ is stale: {files} of its files would change. These are the systems of the facts as they will be"
        ));
    }
    warn_of_certificates(context, &cluster, &nodes);
    let building = Building {
        no_cache: request.no_cache,
        eval_workers: request.eval_workers,
        keep_going: true,
        ..Building::default()
    };
    let attempt = systems::attempt_planned(context, &building, &cluster, &nodes, &generated)?;
    report(context, attempt, links.as_deref())
}

/// Warns if a deploy of the same directory would be refused, or build other systems, for missing certificates.
fn warn_of_certificates(context: &Context, cluster: &Cluster, nodes: &[NodeName]) {
    if let Err(failure) = context.require_certificates(cluster, nodes) {
        context.events.warn(format!("a deploy needs certificates, and refuses without: {}", failure.message));
    }
}

/// Creates the directory of the links. nix needs an absolute path for a link that protects from garbage collection.
fn directory_of_links(path: &Path) -> Result<PathBuf, Failure> {
    let made = fs::create_dir_all(path).and_then(|()| path.canonicalize());
    made.map_err(|error| {
        Failure::new(Kind::Input, format!("--out-link: {} cannot be used as a directory: {error}", path.display()))
    })
}

fn report(context: &Context, attempt: Attempt, links: Option<&Path>) -> Result<Report, Failure> {
    let mut nodes = BTreeMap::new();
    for (name, system) in attempt.systems {
        let link = links.map(|links| links.join(name.as_str()));
        if let Some(link) = &link {
            context.project.nix.link(&system.system, link).failed()?;
        }
        let cached = system.cached;
        let output = Output { system, link };
        nodes.insert(name, if cached { Node::Cached(output) } else { Node::Built(output) });
    }
    for (names, failure) in attempt.failed {
        nodes.extend(names.into_iter().map(|name| (name, Node::Failed(failure.clone()))));
    }
    Ok(Report { nodes })
}
