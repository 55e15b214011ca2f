//! Systems of nodes: unchanged ones are reused, the others are evaluated and built.

mod cache;
mod elsewhere;
mod given;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::Path,
    thread,
    time::Instant,
};

use machinist_model::NodeName;
use machinist_nix::{Built, FlakeRef, Known, KnownFile, KnownInput, StorePath};

use self::{
    cache::{Cache, Entry},
    elsewhere::attribute,
};
pub use self::{
    elsewhere::{BuildOn, build as build_elsewhere},
    given::Given,
};
use crate::{
    context::Context,
    event::{Event, Events},
    failure::{Failure, Kind, OrFail},
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
    flake: &FlakeRef,
    nodes: &[NodeName],
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let project = &context.project;
    if building.is_given() {
        return given::systems(project, &building.store_path, nodes);
    }
    let begun = Instant::now();
    let cache = Cache::new(project.local().join("cache"), project.local().join("systems"));
    std::fs::create_dir_all(cache.links()).failed()?;
    let keys = keys(project, flake, nodes, Some(&context.events));
    let known = if building.no_cache { BTreeMap::new() } else { unchanged(project, &cache, &keys)? };
    let open: Vec<NodeName> = nodes.iter().filter(|node| !known.contains_key(*node)).cloned().collect();
    let warnings: BTreeSet<&String> = known.values().flat_map(|entry| &entry.warnings).collect();
    warnings.into_iter().for_each(|warning| context.events.warn(warning));
    let built =
        if open.is_empty() { BTreeMap::new() } else { evaluate(context, building, flake, &open, &keys, &cache)? };
    context.events.send(Event::SystemsBuilt { built: built.len(), unchanged: known.len(), took: begun.elapsed() });
    Ok(known.into_iter().map(|(node, entry)| (node, entry.system)).chain(built).collect())
}

/// Builds the systems of a deploy, with the facts that it would write. The cluster's directory is not changed.
///
/// # Errors
/// A system cannot be evaluated or built.
pub fn build_planned(
    context: &Context,
    building: &Building,
    nodes: &[NodeName],
    generated: &Generated,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let copy = tempfile::Builder::new().prefix("machinist-plan-").tempdir().failed()?;
    let flake = context.project.flake_after(generated, copy.path())?;
    build(context, building, &flake, nodes)
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
    built: Result<Built, Failure>,
}

/// Evaluates and builds, and caches the result.
fn evaluate(
    context: &Context,
    building: &Building,
    flake: &FlakeRef,
    nodes: &[NodeName],
    keys: &BTreeMap<NodeName, String>,
    cache: &Cache,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let project = &context.project;
    let tellable = nodes.iter().all(|node| keys.contains_key(node));
    let (chunks, pinned) = thread::scope(|scope| {
        let pinned = scope.spawn(|| tellable && project.nix.inputs_are_pinned(flake).unwrap_or(false));
        let chunks = in_chunks(context, building.eval_workers, flake, nodes, cache.links());
        (chunks, pinned.join().unwrap_or(false))
    });
    if tellable && !pinned {
        context.events.detail("what was built is not remembered: an input of the flake is not locked");
    }
    // A file that changed during the evaluation may be in the system, in the digest, or in both.
    let now = if pinned { self::keys(project, flake, nodes, None) } else { BTreeMap::new() };
    let mut systems = BTreeMap::new();
    let mut warnings = BTreeSet::new();
    let mut failed = Vec::new();
    for Chunk { nodes, link, built } in chunks {
        let Built { paths, warnings: told } = match built {
            Ok(built) => built,
            Err(failure) => {
                failed.push((nodes, failure));
                continue;
            }
        };
        for (index, (node, system)) in nodes.iter().zip(paths).enumerate() {
            let link = if index == 0 { link.clone() } else { format!("{link}-{index}") };
            let key = keys.get(node).filter(|key| now.get(node) == Some(key)).cloned().unwrap_or_default();
            cache.put(node, &Entry::new(key, system.clone(), told.clone(), link)).failed()?;
            systems.insert(node.clone(), system);
        }
        warnings.extend(told);
    }
    warnings.iter().for_each(|warning| context.events.warn(warning));
    if failed.is_empty() { Ok(systems) } else { Err(together(failed, nodes.len())) }
}

/// Runs the processes in parallel. Each has its own links in each run, so that a build never removes the protection of
/// another node's system.
fn in_chunks<'a>(
    context: &Context,
    workers: Option<NonZeroUsize>,
    flake: &FlakeRef,
    nodes: &'a [NodeName],
    links: &Path,
) -> Vec<Chunk<'a>> {
    let project = &context.project;
    let run = run_id(context);
    thread::scope(|scope| {
        let start = |(index, nodes): (usize, &'a [NodeName])| {
            let link = format!("{run}-{index}");
            let path = links.join(&link);
            (nodes, link, scope.spawn(move || nix_build(project, flake, nodes, &path)))
        };
        let chunks = workers::chunks(nodes, workers);
        let started: Vec<_> = chunks.into_iter().enumerate().map(start).collect();
        let end = |(nodes, link, thread): (_, _, thread::ScopedJoinHandle<'_, Result<Built, Failure>>)| {
            let silent = |_| Err(Failure::new(Kind::Failed, "the evaluation ended without an answer"));
            Chunk { nodes, link, built: thread.join().unwrap_or_else(silent) }
        };
        started.into_iter().map(end).collect()
    })
}

/// Combines all failures into one, with the affected nodes if others succeeded.
fn together(failed: Vec<(&[NodeName], Failure)>, of: usize) -> Failure {
    let told = |(nodes, failure): &(&[NodeName], Failure)| {
        let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
        let about = if nodes.len() == of { String::new() } else { format!("{}: ", names.join(", ")) };
        format!("{about}{}", failure.message)
    };
    let message = failed.iter().map(told).collect::<Vec<_>>().join("\n");
    let mut whole = Failure::new(Kind::Failed, message);
    for (_, Failure { causes, hints, .. }) in failed {
        whole.causes.extend(causes);
        for hint in hints {
            if !whole.hints.contains(&hint) {
                whole.hints.push(hint);
            }
        }
    }
    whole
}

fn nix_build(project: &Project, flake: &FlakeRef, nodes: &[NodeName], link: &Path) -> Result<Built, Failure> {
    let attributes: Vec<String> = nodes.iter().map(attribute).collect();
    let built = project.nix.build(flake, &attributes, link);
    built.map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))
}
