//! The systems of nodes: those that cannot have changed are taken as they are, the others are evaluated and built.

mod cache;
mod elsewhere;
mod given;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Instant,
};

use clap::Args;
use machinist_model::NodeName;
use machinist_nix::{FlakeRef, StorePath};

use self::{
    cache::{Cache, Entry},
    given::Given,
};
use crate::{
    command::deploy::run_id,
    failure::{Failure, Kind, OrFail},
    project::Project,
    ui::Ui,
};
pub use elsewhere::{BuildOn, build as build_elsewhere};

/// The text that `nix/cluster.nix` has in a directory that this machinist wrote.
const CLUSTER_NIX: &str = include_str!("../../../../nix/cluster.nix");

/// How systems are evaluated and built.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildArgs {
    /// Evaluate all systems, also those that nothing changed for
    #[arg(long)]
    no_cache: bool,

    /// Take this system, built elsewhere, and evaluate nothing; once for each target
    #[arg(long, value_name = "[NODE=]PATH", value_parser = Given::parse)]
    store_path: Vec<Given>,
}

impl BuildArgs {
    /// Whether the systems were built elsewhere, so that what the directory says does not change them.
    pub const fn is_given(&self) -> bool {
        !self.store_path.is_empty()
    }
}

/// Returns the nodes' systems.
pub fn build(
    project: &Project,
    flake: &FlakeRef,
    nodes: &[NodeName],
    ui: Ui,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    if project.building.is_given() {
        return given::systems(project, &project.building.store_path, nodes);
    }
    let begun = Instant::now();
    let cache = Cache::new(project.local().join("cache"), project.local().join("systems"));
    std::fs::create_dir_all(cache.links()).failed()?;
    let keys = keys(project, flake, nodes, ui);
    let known = if project.building.no_cache { BTreeMap::new() } else { unchanged(project, &cache, &keys)? };
    let open: Vec<NodeName> = nodes.iter().filter(|node| !known.contains_key(*node)).cloned().collect();
    let warnings: BTreeSet<&String> = known.values().flat_map(|entry| &entry.warnings).collect();
    warnings.into_iter().for_each(|warning| ui.warn(warning));
    let built = if open.is_empty() { BTreeMap::new() } else { evaluate(project, flake, &open, &keys, &cache, ui)? };
    if !ui.json {
        ui.story(&said(built.len(), known.len(), begun.elapsed().as_secs_f64()));
    }
    Ok(known.into_iter().map(|(node, entry)| (node, entry.system)).chain(built).collect())
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
    match project.nix.fingerprints(flake, CLUSTER_NIX, &names) {
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

/// Evaluates and builds, and remembers what came of it.
fn evaluate(
    project: &Project,
    flake: &FlakeRef,
    nodes: &[NodeName],
    keys: &BTreeMap<NodeName, String>,
    cache: &Cache,
    ui: Ui,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    // A link of its own for each run, so that no build takes away what keeps another node's system.
    let name = run_id();
    let tellable = nodes.iter().all(|node| keys.contains_key(node));
    let (built, pinned) = std::thread::scope(|scope| {
        let pinned = scope.spawn(|| tellable && project.nix.inputs_are_pinned(flake).unwrap_or(false));
        let built = nix_build(project, flake, nodes, &cache.links().join(&name));
        (built, pinned.join().unwrap_or(false))
    });
    let (systems, warnings) = built?;
    for warning in &warnings {
        ui.warn(warning);
    }
    // A file that changed while nix read it may be in the system, in the digest, or in both.
    let now = if pinned { self::keys(project, flake, nodes, ui.quiet()) } else { BTreeMap::new() };
    for (index, (node, system)) in nodes.iter().zip(&systems).enumerate() {
        let link = if index == 0 { name.clone() } else { format!("{name}-{index}") };
        let key = keys.get(node).filter(|key| now.get(node) == Some(key)).cloned().unwrap_or_default();
        cache.put(node, &Entry::new(key, system.clone(), warnings.clone(), link)).failed()?;
    }
    Ok(nodes.iter().cloned().zip(systems).collect())
}

/// The flake's attribute of a node's system.
fn attribute(node: &NodeName) -> String {
    format!("nixosConfigurations.{node}.config.system.build.toplevel")
}

fn nix_build(
    project: &Project,
    flake: &FlakeRef,
    nodes: &[NodeName],
    link: &Path,
) -> Result<(Vec<StorePath>, Vec<String>), Failure> {
    let attributes: Vec<String> = nodes.iter().map(attribute).collect();
    let built = project
        .nix
        .build(flake, &attributes, link)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    Ok((built.paths, built.warnings))
}
