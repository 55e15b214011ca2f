//! Applies the desired objects to a cluster.
//!
//! Discovery of all kinds comes before the first write. Then objects are written phase by phase, nodes are labelled and
//! tainted, and objects from earlier runs that are no longer desired are pruned. An interrupted run, or one in which
//! the server rejected an object, leaves no digest behind, so the next run repeats all of it.

pub(crate) mod nodes;
mod prune;

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use kube::api::DynamicObject;
use machinist_model::NodeName;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::{
    desired::{Desired, Phase},
    inventory::{self, Entry, Inventory, InventoryError},
    kinds::{Kind, Kinds, UnknownKind},
    object::{Id, LABEL, Object, Origin},
    server::{AT_ONCE, Server, ServerError, Write},
};

/// Options of an apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// True to write all objects even if the digest of the last run matches.
    pub thorough: bool,
    /// True to also prune objects that hold data, such as namespaces, once they are no longer desired.
    pub prune_data: bool,
    /// Maximum wait for nodes that have not registered yet; only used if nothing was ever applied.
    pub wait_for_nodes: Duration,
}

/// Result of applying one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// The object did not exist.
    Created,
    /// The object differed.
    Changed,
    /// The object was up to date.
    Unchanged,
    /// No longer desired, and deleted.
    Removed,
    /// No longer desired, but not deleted because it holds data.
    Kept,
    /// No longer desired, but not deleted because it no longer carries machinist's label.
    Left,
}

/// Result of setting a node's labels and taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Marked {
    /// Labels or taints were updated.
    Changed,
    /// Labels and taints were up to date.
    Unchanged,
    /// The node has not registered yet.
    Absent,
}

/// An object that could not be applied.
#[derive(Debug, Error)]
#[error("{origin}: {id} cannot be applied")]
pub struct Problem {
    /// Identity of the object.
    pub id: Id,
    /// The manifest or machines.nix entry that declares it.
    pub origin: Origin,
    /// The server's error.
    #[source]
    pub source: ServerError,
}

impl Problem {
    /// Returns a suggested fix, if there is one.
    #[must_use]
    pub fn hint(&self, cluster: &str) -> Option<String> {
        match &self.source {
            ServerError::Conflict(_) => Some(format!(
                "remove these fields from the manifest, or let machinist manage the object: \
                 kubectl label {} {LABEL}={cluster}",
                kubectl(&self.id)
            )),
            ServerError::Refused(_) | ServerError::Silent(_) => None,
        }
    }
}

/// The object's `--namespace` flag and `kind.group name`, as kubectl takes them.
fn kubectl(id: &Id) -> String {
    let group = if id.group.is_empty() { String::new() } else { format!(".{}", id.group) };
    let namespace = id.namespace.as_ref().map_or_else(String::new, |namespace| format!("--namespace {namespace} "));
    format!("{namespace}{}{group}/{}", id.kind.to_lowercase(), id.name)
}

/// Result of an apply.
#[derive(Debug, Default)]
pub struct Outcome {
    /// True if the digest matched, so that only nodes were checked.
    pub by_digest: bool,
    /// The objects in the order they were written, then the pruned ones.
    pub objects: Vec<(Id, Change)>,
    /// Result for each node.
    pub nodes: BTreeMap<NodeName, Marked>,
    /// Objects that the server rejected.
    pub problems: Vec<Problem>,
}

impl Outcome {
    /// Counts the objects with this result.
    #[must_use]
    pub fn count(&self, change: Change) -> usize {
        self.objects.iter().filter(|(_, found)| *found == change).count()
    }

    /// Counts the nodes with this result.
    #[must_use]
    pub fn count_nodes(&self, marked: Marked) -> usize {
        self.nodes.values().filter(|found| **found == marked).count()
    }
}

/// Error that ended an apply.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Kinds that the cluster does not serve. Nothing was changed.
    #[error("{}", list(.0))]
    UnknownKinds(Vec<UnknownKind>),
    /// The inventory is unusable.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A request failed that every run begins or ends with.
    #[error("cannot {doing}")]
    Server {
        /// The step, as a verb phrase.
        doing: &'static str,
        /// The server's error.
        #[source]
        source: ServerError,
    },
}

fn list(unknown: &[UnknownKind]) -> String {
    unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl ApplyError {
    /// Returns a suggested fix, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKinds(unknown) => unknown.first().map(UnknownKind::hint),
            Self::Inventory(error) => Some(error.hint()),
            Self::Server { .. } => None,
        }
    }
}

/// State of one apply.
pub(crate) struct Run<'a> {
    pub server: &'a Server,
    pub desired: &'a Desired,
    pub kinds: Kinds,
    pub stored: Stored,
}

/// The inventory, and the ConfigMap that it was read from.
pub(crate) struct Stored {
    pub kind: Kind,
    pub object: Option<DynamicObject>,
    pub inventory: Inventory,
}

/// Applies all desired objects, labels and taints.
///
/// # Errors
/// The run could not start, or its end could not be recorded. Errors of single objects are in the [`Outcome`].
pub async fn apply(server: &Server, desired: &Desired, options: &Options) -> Result<Outcome, ApplyError> {
    let stored = read_inventory(server, &desired.cluster).await?;
    let is_first = stored.object.is_none();
    let digest = desired.digest();
    if !options.thorough && stored.inventory.digest.as_ref() == Some(&digest) {
        return refresh(server, desired, stored).await;
    }
    let kinds = known_kinds(server, desired).await?;
    let mut run = Run { server, desired, kinds, stored };
    let wanted: Vec<Entry> = desired.objects.iter().map(|object| run.entry(object)).collect();
    let mut inventory = run.stored.inventory.clone();
    // Until all objects are written: the previous set may be partly replaced by then.
    inventory.digest = inventory.digest.filter(|found| *found == digest);
    inventory.entries.extend(wanted.iter().cloned());
    run.record(inventory).await?;
    let mut outcome = Outcome::default();
    run.write_all(&mut outcome).await;
    let wait = if is_first { options.wait_for_nodes } else { Duration::ZERO };
    let mut inventory = run.stored.inventory.clone();
    inventory.nodes = run.mark_nodes(wait, &mut outcome).await;
    if outcome.problems.iter().all(|problem| problem.id.kind == "Node") {
        let left_over = run.prune(&wanted, options.prune_data, &mut outcome).await;
        inventory.entries = wanted.into_iter().chain(left_over).collect();
    }
    inventory.digest = outcome.problems.is_empty().then_some(digest);
    run.record(inventory).await?;
    Ok(outcome)
}

/// The digest says that all objects have been applied: only nodes may be new.
async fn refresh(server: &Server, desired: &Desired, stored: Stored) -> Result<Outcome, ApplyError> {
    let mut outcome = Outcome { by_digest: true, ..Outcome::default() };
    let mut run = Run { server, desired, kinds: Kinds::default(), stored };
    let nodes = run.mark_nodes(Duration::ZERO, &mut outcome).await;
    if nodes != run.stored.inventory.nodes {
        let inventory = Inventory { nodes, ..run.stored.inventory.clone() };
        run.record(inventory).await?;
    }
    Ok(outcome)
}

/// Reads the inventory of earlier runs.
pub(crate) async fn read_inventory(server: &Server, cluster: &str) -> Result<Stored, ApplyError> {
    let kind = core_kind("ConfigMap", "configmaps", true);
    let failed = |source| ApplyError::Server { doing: "read what was applied before", source };
    let object = server.get(&kind, Some(inventory::NAMESPACE), inventory::NAME).await.map_err(failed)?;
    let inventory = match &object {
        None => Inventory::default(),
        Some(object) => Inventory::from_object(&to_value(object), cluster)?,
    };
    Ok(Stored { kind, object, inventory })
}

/// Discovers the kinds of all desired objects.
pub(crate) async fn known_kinds(server: &Server, desired: &Desired) -> Result<Kinds, ApplyError> {
    let failed = |source| ApplyError::Server { doing: "discover the kinds of the objects", source };
    let kinds = server.kinds(&desired.objects).await.map_err(failed)?;
    let unknown = kinds.unknown(&desired.objects);
    if unknown.is_empty() { Ok(kinds) } else { Err(ApplyError::UnknownKinds(unknown)) }
}

/// Returns a kind of the core group, which every API server serves.
pub(crate) fn core_kind(kind: &str, plural: &str, namespaced: bool) -> Kind {
    let gvk = kube::core::GroupVersionKind::gvk("", "v1", kind);
    Kind { resource: kube::core::ApiResource::from_gvk_with_plural(&gvk, plural), namespaced }
}

pub(crate) fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// True if the object carries machinist's label with this cluster's name.
pub(crate) fn is_ours(object: &DynamicObject, cluster: &str) -> bool {
    object.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL)).is_some_and(|owner| owner == cluster)
}

impl Run<'_> {
    pub(crate) fn entry(&self, object: &Object) -> Entry {
        let kind = self.kinds.get(&object.api_version(), &object.id.kind);
        Entry::of(object, kind.is_some_and(|kind| kind.namespaced))
    }

    /// Writes the inventory unless it is unchanged.
    async fn record(&mut self, inventory: Inventory) -> Result<(), ApplyError> {
        if self.stored.object.is_some() && inventory == self.stored.inventory {
            return Ok(());
        }
        let failed = |source| ApplyError::Server { doing: "record what is applied", source };
        let mut value = inventory.to_object(&self.desired.cluster);
        if let Some(version) = self.stored.object.as_ref().and_then(|object| object.metadata.resource_version.clone()) {
            value["metadata"]["resourceVersion"] = version.into();
        }
        let object: DynamicObject = serde_json::from_value(value)
            .map_err(|error| failed(ServerError::Silent(kube::Error::SerdeError(error))))?;
        let stored = self.server.store(&self.stored.kind, inventory::NAMESPACE, inventory::NAME, &object).await;
        self.stored.object = Some(stored.map_err(failed)?);
        self.stored.inventory = inventory;
        Ok(())
    }

    async fn write_all(&self, outcome: &mut Outcome) {
        for phase in Phase::ALL {
            let objects = self.desired.objects.iter().filter(|object| Phase::of(&object.id) == phase);
            let written = stream::iter(objects).map(|object| self.write_one(object)).buffered(AT_ONCE);
            for (object, result) in written.collect::<Vec<_>>().await {
                let entry = self.entry(object);
                match result {
                    Ok(change) => outcome.objects.push((entry.id, change)),
                    Err(source) => {
                        outcome.problems.push(Problem { id: entry.id, origin: object.origin.clone(), source });
                    }
                }
            }
        }
    }

    /// Writes one object. Its previous state decides whether it changes, and whether fields of other managers may be
    /// taken over.
    async fn write_one<'b>(&self, object: &'b Object) -> (&'b Object, Result<Change, ServerError>) {
        (object, self.try_write(object).await)
    }

    async fn try_write(&self, object: &Object) -> Result<Change, ServerError> {
        let Some(kind) = self.kinds.get(&object.api_version(), &object.id.kind) else {
            return Err(ServerError::Refused("the kind was not discovered".to_owned()));
        };
        let (namespace, name) = (object.id.namespace.as_deref(), object.id.name.as_str());
        let before = self.server.get(kind, namespace, name).await?;
        let force = before.as_ref().is_some_and(|before| is_ours(before, &self.desired.cluster));
        let how = Write { dry_run: false, force };
        let after = self.server.write(kind, namespace, name, &addressed(object, kind), how).await?;
        if object.id.kind == "CustomResourceDefinition" && !self.server.established(kind, name).await? {
            return Err(ServerError::Refused("its kinds are not served yet (condition Established)".to_owned()));
        }
        Ok(match before {
            None => Change::Created,
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => Change::Unchanged,
            Some(_) => Change::Changed,
        })
    }
}

/// The object with the namespace that it is written to. A cluster-scoped kind has none, whatever its manifest contains:
/// many manifests rendered from templates set one.
pub(crate) fn addressed(object: &Object, kind: &Kind) -> Value {
    let mut value = object.value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        if kind.namespaced {
            let namespace = object.id.namespace.as_deref().unwrap_or("default");
            metadata.insert("namespace".to_owned(), namespace.into());
        } else {
            metadata.remove("namespace");
        }
    }
    value
}
