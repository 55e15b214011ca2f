//! Systems of nodes: unchanged ones are reused, the others are evaluated and built.

mod attempt;
mod cache;
mod elsewhere;
mod given;
mod platforms;
mod progress;
mod separate;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::Path,
    thread,
    time::Instant,
};

use machinist_model::{Cluster, NodeName};
use machinist_nix::{Build, Built, FlakeRef, Known, KnownFile, KnownInput, NixError, StorePath};

pub use self::{
    attempt::{Attempt, System},
    elsewhere::{BuildOn, build as build_elsewhere},
    given::Given,
};
use self::{
    cache::{Cache, Entry},
    elsewhere::attribute,
    progress::Progress,
};
use crate::{
    context::Context,
    event::{Event, Events},
    failure::{Failure, OrFail},
    project::{Generated, Project},
    run_id::run_id,
};

/// Known files that a node's evaluation starts from: in the cluster's directory, or in its input machinist.
const KNOWN: Known<'_> = Known {
    files: &KNOWN_FILES,
    input: KnownInput {
        name: "machinist",
        files: &[
            ("flake.nix", include_str!("../../../../flake.nix")),
            ("nix/mk-cluster.nix", include_str!("../../../../nix/mk-cluster.nix")),
            ("nix/cluster.nix", include_str!("../../../../nix/cluster.nix")),
        ],
    },
};

/// Files of machinist whose imports are computed. The agent's sources are beside it, or the complete project around it.
const KNOWN_FILES: [KnownFile; 2] = [
    KnownFile {
        path: "nix/cluster.nix",
        text: include_str!("../../../../nix/cluster.nix"),
        reads: &["../modules", "../app_modules"],
    },
    KnownFile {
        path: "nix/agent.nix",
        text: include_str!("../../../../nix/agent.nix"),
        reads: &[
            "./agent-source",
            "../Cargo.lock",
            "../Cargo.toml",
            "../rust/agent",
            "../rust/mesh",
            "../rust/text",
            "../testbed/clouds",
            "../tests/ledger",
        ],
    },
];

/// Options for evaluation and build.
#[derive(Clone, Debug, Default)]
pub struct Building {
    /// Evaluates all systems, including unchanged ones.
    pub no_cache: bool,
    /// Number of evaluators; by default limited by cores and free memory.
    pub eval_workers: Option<NonZeroUsize>,
    /// Systems built elsewhere, one for each target: then nothing is evaluated.
    pub store_path: Vec<Given>,
    /// Builds the systems of the other nodes when one fails.
    pub keep_going: bool,
}

impl Building {
    /// Returns true if the systems were built elsewhere, and are therefore independent of the directory.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        !self.store_path.is_empty()
    }
}

/// Returns the nodes' systems.
///
/// # Errors
/// A system cannot be evaluated or built.
pub fn build(
    context: &Context,
    building: &Building,
    cluster: &Cluster,
    flake: &FlakeRef,
    nodes: &[NodeName],
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    if building.is_given() {
        return given::systems(&context.project, &building.store_path, nodes);
    }
    let systems = attempt(context, building, cluster, flake, nodes)?.complete()?;
    Ok(systems.into_iter().map(|(node, system)| (node, system.system)).collect())
}

/// Evaluates and builds the nodes' systems, as far as that succeeds.
fn attempt(
    context: &Context,
    building: &Building,
    cluster: &Cluster,
    flake: &FlakeRef,
    nodes: &[NodeName],
) -> Result<Attempt, Failure> {
    let project = &context.project;
    let begun = Instant::now();
    let cache = Cache::new(project.local().join("cache"), project.local().join("systems"));
    std::fs::create_dir_all(cache.links()).failed()?;
    let keys = keys(project, flake, nodes, Some(&context.events));
    let known = if building.no_cache { BTreeMap::new() } else { unchanged(project, &cache, &keys)? };
    let open: Vec<NodeName> = nodes.iter().filter(|node| !known.contains_key(*node)).cloned().collect();
    let warnings: BTreeSet<&String> = known.values().flat_map(|entry| &entry.warnings).collect();
    warnings.into_iter().for_each(|warning| context.events.warn(warning));
    let (open, foreign) = platforms::separate(context, cluster, flake, open)?;
    let mut attempt = match open.as_slice() {
        [] => Attempt::default(),
        // One system that cannot be built is enough to stop all.
        _ if !foreign.is_empty() && !building.keep_going => Attempt::default(),
        open => evaluate(context, building, flake, open, &keys, &cache)?,
    };
    attempt.failed.extend(foreign);
    let (built, unchanged) = (attempt.systems.len(), known.len());
    if attempt.failed.is_empty() || built + unchanged > 0 {
        context.events.send(Event::SystemsBuilt { built, unchanged, took: begun.elapsed() });
    }
    let cached = |entry: Entry| System { system: entry.system, derivation: entry.derivation, cached: true };
    attempt.systems.extend(known.into_iter().map(|(node, entry)| (node, cached(entry))));
    Ok(attempt)
}

/// Builds the systems of a deploy, with the facts that it would write. The cluster's directory is not changed.
///
/// # Errors
/// A system cannot be evaluated or built.
pub fn build_planned(
    context: &Context,
    building: &Building,
    cluster: &Cluster,
    nodes: &[NodeName],
    generated: &Generated,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    if building.is_given() {
        return given::systems(&context.project, &building.store_path, nodes);
    }
    let copy = tempfile::Builder::new().prefix("machinist-plan-").tempdir().failed()?;
    let flake = context.project.flake_after(generated, copy.path())?;
    build(context, building, cluster, &flake, nodes)
}

/// Does the same as [`build_planned`], as far as that succeeds, and without systems that were built elsewhere.
///
/// # Errors
/// The cluster's directory cannot be read.
pub fn attempt_planned(
    context: &Context,
    building: &Building,
    cluster: &Cluster,
    nodes: &[NodeName],
    generated: &Generated,
) -> Result<Attempt, Failure> {
    let copy = tempfile::Builder::new().prefix("machinist-plan-").tempdir().failed()?;
    let flake = context.project.flake_after(generated, copy.path())?;
    attempt(context, building, cluster, &flake, nodes)
}

/// Returns a digest for each node, or none if a system's inputs cannot be determined.
fn keys(
    project: &Project,
    flake: &FlakeRef,
    nodes: &[NodeName],
    events: Option<&Events>,
) -> BTreeMap<NodeName, String> {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    match project.nix.fingerprints(flake, KNOWN, &names) {
        Ok(found) => {
            if let (Some(why), Some(events)) = (found.whole, events) {
                events.detail(format!("any change of the directory counts for every node: {why}"));
            }
            nodes.iter().filter_map(|node| Some((node.clone(), found.of.get(node.as_str())?.clone()))).collect()
        }
        Err(error) => {
            if let Some(events) = events {
                events.detail(format!("all systems are evaluated: {error}"));
            }
            BTreeMap::new()
        }
    }
}

/// Returns the nodes whose digest matches their last build, and whose system is complete and protected in the store.
fn unchanged(
    project: &Project,
    cache: &Cache,
    keys: &BTreeMap<NodeName, String>,
) -> Result<BTreeMap<NodeName, Entry>, Failure> {
    let mut known: BTreeMap<NodeName, Entry> = BTreeMap::new();
    for (node, key) in keys {
        if let Some(entry) = cache.find(node, key) {
            known.insert(node.clone(), entry);
        }
    }
    let paths: Vec<StorePath> = known.values().map(|entry| entry.system.clone()).collect();
    let valid = project.nix.valid(&paths).failed()?;
    known.retain(|_, entry| valid.contains(&entry.system));
    Ok(known)
}

/// Result of a process that evaluates and builds.
struct Chunk<'a> {
    nodes: &'a [NodeName],
    /// Name of the first link.
    link: String,
    built: Result<Built, NixError>,
}

/// Evaluates and builds, and caches the result.
fn evaluate(
    context: &Context,
    building: &Building,
    flake: &FlakeRef,
    nodes: &[NodeName],
    keys: &BTreeMap<NodeName, String>,
    cache: &Cache,
) -> Result<Attempt, Failure> {
    let project = &context.project;
    let tellable = nodes.iter().all(|node| keys.contains_key(node));
    let progress = Progress::new(context);
    let builder =
        Builder { project, flake, links: cache.links(), keep_going: building.keep_going, progress: &progress };
    let (chunks, pinned) = thread::scope(|scope| {
        let pinned = scope.spawn(|| tellable && project.nix.inputs_are_pinned(flake).unwrap_or(false));
        let chunks = in_chunks(&builder, run_id(context), building.eval_workers, nodes);
        (chunks, pinned.join().unwrap_or(false))
    });
    context.stop_here()?;
    let (chunks, failed) = separate::successes(&builder, chunks);
    context.stop_here()?;
    if tellable && !pinned {
        context.events.detail("what was built is not remembered: an input of the flake is not locked");
    }
    // A file that changed during the evaluation may be in the system, in the digest, or in both.
    let now = if pinned { self::keys(project, flake, nodes, None) } else { BTreeMap::new() };
    let mut attempt = Attempt { failed, ..Attempt::default() };
    let mut warnings = BTreeSet::new();
    for (nodes, link, Built { paths, derivations, warnings: told }) in chunks {
        for (index, ((node, system), derivation)) in nodes.iter().zip(paths).zip(derivations).enumerate() {
            let link = if index == 0 { link.clone() } else { format!("{link}-{index}") };
            let key = keys.get(node).filter(|key| now.get(node) == Some(key)).cloned().unwrap_or_default();
            let entry = Entry::new(key, system.clone(), derivation.clone(), told.clone(), link);
            cache.put(node, &entry).failed()?;
            attempt.systems.insert(node.clone(), System { system, derivation, cached: false });
        }
        warnings.extend(told);
    }
    warnings.iter().for_each(|warning| context.events.warn(warning));
    Ok(attempt)
}

/// Runs the processes in parallel. Each has its own links in each run, so that a build never removes the protection of
/// another node's system.
fn in_chunks<'a>(
    builder: &Builder<'_>,
    run: String,
    workers: Option<NonZeroUsize>,
    nodes: &'a [NodeName],
) -> Vec<Chunk<'a>> {
    thread::scope(|scope| {
        let start = |(index, nodes): (usize, &'a [NodeName])| {
            let link = format!("{run}-{index}");
            let name = link.clone();
            (nodes, link, scope.spawn(move || builder.build(nodes, &name)))
        };
        let chunks = workers::chunks(nodes, workers);
        let started: Vec<_> = chunks.into_iter().enumerate().map(start).collect();
        let end = |(nodes, link, thread): (_, _, thread::ScopedJoinHandle<'_, Result<Built, NixError>>)| {
            let detail = "the evaluation ended without an answer".to_owned();
            let silent = |_| Err(NixError::Answer { program: "nix build".to_owned(), detail });
            Chunk { nodes, link, built: thread.join().unwrap_or_else(silent) }
        };
        started.into_iter().map(end).collect()
    })
}

/// Builds systems of a flake.
struct Builder<'a> {
    project: &'a Project,
    flake: &'a FlakeRef,
    links: &'a Path,
    keep_going: bool,
    progress: &'a Progress,
}

impl Builder<'_> {
    /// Builds the systems of these nodes in one process. `link` is the name of the first link.
    fn build(&self, nodes: &[NodeName], link: &str) -> Result<Built, NixError> {
        let attributes: Vec<String> = nodes.iter().map(attribute).collect();
        self.project.nix.build(&Build {
            flake: self.flake,
            attributes: &attributes,
            link: &self.links.join(link),
            keep_going: self.keep_going,
            watch: self.progress,
        })
    }
}
