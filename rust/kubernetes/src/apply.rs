//! Brings what should be there into a cluster.
//!
//! All kinds are asked for before anything is written. Then objects are written phase by phase, nodes are marked, and what an
//! earlier run brought and nobody wants any more is removed. A run that is cut off, or in which the server refused something,
//! leaves no digest behind, so that the next one does all of it again.

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

/// How it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether all objects are written although the digest of the last run says that they are there.
    pub thorough: bool,
    /// Whether objects that hold data, such as namespaces, are removed too when nobody wants them any more.
    pub prune_data: bool,
    /// How long nodes that have not registered yet are waited for, if nothing was ever applied.
    pub wait_for_nodes: Duration,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was another.
    Changed,
    /// It was so already.
    Unchanged,
    /// It was there, and nobody wants it.
    Removed,
    /// Nobody wants it, but it holds data.
    Kept,
    /// Nobody wants it, but it is not this tool's any more.
    Left,
}

/// What became of a node's marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Marked {
    /// It has them now.
    Changed,
    /// It had them.
    Unchanged,
    /// There is no such node in the cluster yet.
    Absent,
}

/// An object that did not get there.
#[derive(Debug, Error)]
#[error("{origin}: {id} cannot be applied")]
pub struct Problem {
    /// The object.
    pub id: Id,
    /// Who wants it.
    pub origin: Origin,
    /// Why.
    #[source]
    pub source: ServerError,
}

impl Problem {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self, cluster: &str) -> Option<String> {
        match &self.source {
            ServerError::Conflict(_) => Some(format!(
                "leave the fields to who has set them, or hand the object over: kubectl label {} {LABEL}={cluster}",
                kubectl(&self.id)
            )),
            ServerError::Refused(_) | ServerError::Silent(_) => None,
        }
    }
}

/// An object as kubectl is told.
fn kubectl(id: &Id) -> String {
    let group = if id.group.is_empty() { String::new() } else { format!(".{}", id.group) };
    let namespace = id.namespace.as_ref().map_or_else(String::new, |namespace| format!("--namespace {namespace} "));
    format!("{namespace}{}{group}/{}", id.kind.to_lowercase(), id.name)
}

/// What became of everything.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whether the digest of the last run was all that had to be looked at.
    pub by_digest: bool,
    /// The objects, those that are not wanted any more last.
    pub objects: Vec<(Id, Change)>,
    /// The nodes.
    pub nodes: BTreeMap<NodeName, Marked>,
    /// What the server refused.
    pub problems: Vec<Problem>,
}

impl Outcome {
    /// Counts the objects that ended so.
    #[must_use]
    pub fn count(&self, change: Change) -> usize {
        self.objects.iter().filter(|(_, found)| *found == change).count()
    }

    /// Counts the nodes that ended so.
    #[must_use]
    pub fn count_nodes(&self, marked: Marked) -> usize {
        self.nodes.values().filter(|found| **found == marked).count()
    }
}

/// Why nothing, or not all, could be done.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// Kinds that the cluster does not have. Nothing was changed.
    #[error("{}", list(.0))]
    UnknownKinds(Vec<UnknownKind>),
    /// The inventory cannot be used.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The server did not do what every run begins and ends with.
    #[error("cannot {doing}")]
    Server {
        /// What.
        doing: &'static str,
        /// Why.
        #[source]
        source: ServerError,
    },
}

fn list(unknown: &[UnknownKind]) -> String {
    unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl ApplyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKinds(unknown) => unknown.first().map(UnknownKind::hint),
            Self::Inventory(error) => Some(error.hint()),
            Self::Server { .. } => None,
        }
    }
}

/// What a run is about.
pub(crate) struct Run<'a> {
    pub server: &'a Server,
    pub desired: &'a Desired,
    pub kinds: Kinds,
    pub stored: Stored,
}

/// The inventory, and the object that it was read from.
pub(crate) struct Stored {
    pub kind: Kind,
    pub object: Option<DynamicObject>,
    pub inventory: Inventory,
}

/// Brings everything there.
///
/// # Errors
/// Nothing could be begun, or the end could not be recorded. What single objects met is in the [`Outcome`].
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
    // As long as not all of it is there; what was there before may be half gone then.
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

/// The digest says that all objects were brought there: only nodes may be new.
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

/// Reads what earlier runs have recorded.
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

/// Learns the kinds of all objects.
pub(crate) async fn known_kinds(server: &Server, desired: &Desired) -> Result<Kinds, ApplyError> {
    let failed = |source| ApplyError::Server { doing: "ask for the kinds of objects", source };
    let kinds = server.kinds(&desired.objects).await.map_err(failed)?;
    let unknown = kinds.unknown(&desired.objects);
    if unknown.is_empty() { Ok(kinds) } else { Err(ApplyError::UnknownKinds(unknown)) }
}

/// A kind that every API server has.
pub(crate) fn core_kind(kind: &str, plural: &str, namespaced: bool) -> Kind {
    let gvk = kube::core::GroupVersionKind::gvk("", "v1", kind);
    Kind { resource: kube::core::ApiResource::from_gvk_with_plural(&gvk, plural), namespaced }
}

pub(crate) fn to_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Whether the object is marked as this tool's, for this cluster.
pub(crate) fn is_ours(object: &DynamicObject, cluster: &str) -> bool {
    object.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL)).is_some_and(|owner| owner == cluster)
}

impl Run<'_> {
    pub(crate) fn entry(&self, object: &Object) -> Entry {
        let kind = self.kinds.get(&object.api_version(), &object.id.kind);
        Entry::of(object, kind.is_some_and(|kind| kind.namespaced))
    }

    /// Writes the inventory, unless it says that already.
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

    /// Writes an object. What it is before tells whether it changes, and whether others' fields may be taken.
    async fn write_one<'b>(&self, object: &'b Object) -> (&'b Object, Result<Change, ServerError>) {
        (object, self.try_write(object).await)
    }

    async fn try_write(&self, object: &Object) -> Result<Change, ServerError> {
        let Some(kind) = self.kinds.get(&object.api_version(), &object.id.kind) else {
            return Err(ServerError::Refused("it has lost the kind".to_owned()));
        };
        let (namespace, name) = (object.id.namespace.as_deref(), object.id.name.as_str());
        let before = self.server.get(kind, namespace, name).await?;
        let force = before.as_ref().is_some_and(|before| is_ours(before, &self.desired.cluster));
        let how = Write { dry_run: false, force };
        let after = self.server.write(kind, namespace, name, &addressed(object, kind), how).await?;
        if object.id.kind == "CustomResourceDefinition" && !self.server.established(kind, name).await? {
            return Err(ServerError::Refused("its kinds are not served (condition Established)".to_owned()));
        }
        Ok(match before {
            None => Change::Created,
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => Change::Unchanged,
            Some(_) => Change::Changed,
        })
    }
}

/// The object with the namespace that it is written to. A kind without namespaces has none, whatever its manifest says: many
/// that are made from templates say one.
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
