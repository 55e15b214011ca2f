//! Evaluation of machines.nix: the checked cluster and the facts of its nodes, without NixOS. Changes no file.

use std::collections::BTreeMap;

use machinist_codegen::facts::Shared;
use machinist_model::{Cluster, NodeName};
use serde::Serialize;
use serde_json::Value;

use crate::{
    certs, connect,
    context::Context,
    failure::{Failure, OrFail as _},
    project::Project,
};

/// Version of the report's schema, described in docs/reference/eval.md. A change that breaks readers increments it.
const SCHEMA: u32 = 1;

/// Request for an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
}

/// Evaluated cluster.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this schema.
    pub schema: u32,
    /// Cluster described by machines.nix, with its defaults. Contains all nodes, also those that are no targets.
    pub cluster: Cluster,
    /// Facts of each target: the value of the file `generated/<node>.nix`.
    pub facts: BTreeMap<NodeName, Value>,
    /// Values of the files of `generated/` that several nodes read, by file name.
    pub shared: BTreeMap<String, Value>,
}

/// Evaluates machines.nix and computes the facts.
///
/// # Errors
/// machines.nix or an operator's key is invalid, a target matches no node, or a certificate cannot be read.
pub fn run(context: &Context, request: &Request) -> Result<Report, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let state = project.state()?;
    let certificates = certs::facts(&project.directory, &cluster)?;
    let shared = Shared::new(&cluster, &state, &certificates);
    let mut facts = BTreeMap::new();
    for node in cluster.deployable().filter(|node| nodes.contains(&node.name)) {
        facts.insert(node.name.clone(), Value::from(&shared.value(node).input()?));
    }
    let files = shared.shared_values();
    let shared = files.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value))).collect();
    Ok(Report { schema: SCHEMA, facts, shared, cluster })
}

/// Returns the value of machines.nix as Nix evaluates it: unchecked, without defaults.
///
/// # Errors
/// machines.nix failed to evaluate.
pub fn raw(project: &Project) -> Result<Value, Failure> {
    project.evaluate()
}
