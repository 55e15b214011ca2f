//! The systems of nodes: those that cannot have changed are taken as they are, the others are evaluated and built.

mod args;
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

pub use self::{
    args::BuildArgs,
    elsewhere::{BuildOn, build as build_elsewhere},
};
use self::{
    cache::{Cache, Entry},
    elsewhere::attribute,
};
use crate::{
    failure::{Failure, Kind, OrFail},
    project::{Generated, Project},
    run_id::run_id,
    ui::Ui,
};

/// What is known of the files that a node's evaluation begins with: in the cluster's own directory, or in its input machinist.
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

/// Files of ours that read others by expressions. The agent's sources are beside it, or the whole of this project around it.
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

/// Returns the nodes' systems.
pub fn build(
    project: &Project,
    building: &BuildArgs,
    flake: &FlakeRef,
    nodes: &[NodeName],
    ui: Ui,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    if building.is_given() {
        return given::systems(project, &building.store_path, nodes);
    }
    let begun = Instant::now();
    let cache = Cache::new(project.local().join("cache"), project.local().join("systems"));
    std::fs::create_dir_all(cache.links()).failed()?;
    let keys = keys(project, flake, nodes, ui);
    let known = if building.no_cache { BTreeMap::new() } else { unchanged(project, &cache, &keys)? };
    let open: Vec<NodeName> = nodes.iter().filter(|node| !known.contains_key(*node)).cloned().collect();
    let warnings: BTreeSet<&String> = known.values().flat_map(|entry| &entry.warnings).collect();
    warnings.into_iter().for_each(|warning| ui.warn(warning));
    let built =
        if open.is_empty() { BTreeMap::new() } else { evaluate(project, building, flake, &open, &keys, &cache, ui)? };
    if !ui.json {
        ui.story(&said(built.len(), known.len(), begun.elapsed().as_secs_f64()));
    }
    Ok(known.into_iter().map(|(node, entry)| (node, entry.system)).chain(built).collect())
}

/// Builds what a deploy would build, with the facts that it would write. The cluster's directory stays as it is.
pub fn build_planned(
    project: &Project,
    building: &BuildArgs,
    nodes: &[NodeName],
    generated: &Generated,
    ui: Ui,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let copy = tempfile::Builder::new().prefix("machinist-plan-").tempdir().failed()?;
    let flake = project.flake_after(generated, copy.path())?;
    build(project, building, &flake, nodes, ui)
}

fn said(built: usize, known: usize, seconds: f64) -> String {
    let systems = |count: usize| if count == 1 { "1 system".to_owned() } else { format!("{count} systems") };
    match (built, known) {
        (built, 0) => format!("built {} in {seconds:.1} s", systems(built)),
        (0, known) => format!("{} as before, not evaluated", systems(known)),
        (built, known) => format!("built {} in {seconds:.1} s, {known} as before, not evaluated", systems(built)),
    }
}

/// A digest for each node, or none where it cannot be told what the systems depend on.
fn keys(project: &Project, flake: &FlakeRef, nodes: &[NodeName], ui: Ui) -> BTreeMap<NodeName, String> {
    let names: Vec<&str> = nodes.iter().map(NodeName::as_str).collect();
    match project.nix.fingerprints(flake, KNOWN, &names) {
        Ok(found) => {
            if let Some(why) = found.whole.filter(|_| ui.verbose) {
                ui.story(&format!("any change of the directory counts for every node: {why}"));
            }
            nodes.iter().filter_map(|node| Some((node.clone(), found.of.get(node.as_str())?.clone()))).collect()
        }
        Err(error) => {
            if ui.verbose {
                ui.story(&format!("all systems are evaluated: {error}"));
            }
            BTreeMap::new()
        }
    }
}

/// The nodes whose digest is that of their last build, whose system is still whole in the store and kept there.
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

/// What came of a process that evaluates and builds.
struct Chunk<'a> {
    nodes: &'a [NodeName],
    /// The name of the link of the first.
    link: String,
    built: Result<Built, Failure>,
}

/// Evaluates and builds, and remembers what came of it.
fn evaluate(
    project: &Project,
    building: &BuildArgs,
    flake: &FlakeRef,
    nodes: &[NodeName],
    keys: &BTreeMap<NodeName, String>,
    cache: &Cache,
    ui: Ui,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let tellable = nodes.iter().all(|node| keys.contains_key(node));
    let (chunks, pinned) = thread::scope(|scope| {
        let pinned = scope.spawn(|| tellable && project.nix.inputs_are_pinned(flake).unwrap_or(false));
        let chunks = in_chunks(project, building.eval_workers, flake, nodes, cache.links());
        (chunks, pinned.join().unwrap_or(false))
    });
    if tellable && !pinned && ui.verbose {
        ui.story("what was built is not remembered: an input of the flake is not locked");
    }
    // A file that changed while nix read it may be in the system, in the digest, or in both.
    let now = if pinned { self::keys(project, flake, nodes, ui.quiet()) } else { BTreeMap::new() };
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
    warnings.iter().for_each(|warning| ui.warn(warning));
    if failed.is_empty() { Ok(systems) } else { Err(together(failed, nodes.len())) }
}

/// Runs the processes side by side. Each has links of its own in each run, so that no build takes away what keeps
/// another node's system.
fn in_chunks<'a>(
    project: &Project,
    workers: Option<NonZeroUsize>,
    flake: &FlakeRef,
    nodes: &'a [NodeName],
    links: &Path,
) -> Vec<Chunk<'a>> {
    let run = run_id();
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

/// One failure of all that failed, each with the nodes that it is about if others went well.
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
