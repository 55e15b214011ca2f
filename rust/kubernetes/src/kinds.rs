//! Kinds served by an API server, and those defined by custom resource definitions among the desired objects.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::core::{ApiResource, GroupVersionKind};
use machinist_model::near;
use serde_json::Value;

use crate::{
    bootstrap::CERT_MANAGER_GROUP,
    object::{Object, Origin},
};

/// A kind of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Group, version and plural name, for requests.
    pub resource: ApiResource,
    /// True if the kind is namespaced.
    pub namespaced: bool,
}

/// Kinds by `apiVersion` and name. A version that the server does not serve has no entry.
#[derive(Clone, Debug, Default)]
pub struct Kinds(BTreeMap<String, BTreeMap<String, Kind>>);

/// An object of an unknown kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: this cluster has no kind {kind} in {api_version}{}", near.as_ref().map(|near| format!(": did you mean {near}?")).unwrap_or_default())]
pub struct UnknownKind {
    /// The manifest or machines.nix entry that declares the object.
    pub origin: Origin,
    /// The object's `apiVersion`, such as `apps/v2`.
    pub api_version: String,
    /// The object's kind, such as `Deploiment`.
    pub kind: String,
    /// The nearest known `apiVersion` or kind.
    pub near: Option<String>,
}

impl UnknownKind {
    /// Returns a suggested fix.
    #[must_use]
    pub fn hint(&self) -> String {
        if self.api_version.starts_with(&format!("{CERT_MANAGER_GROUP}/")) {
            return "put cert-manager's own manifest (cert-manager.yaml of a release) into manifests/, or remove \
                    kubernetes.acme from machines.nix"
                .to_owned();
        }
        format!("a custom kind needs its CustomResourceDefinition in manifests/ too ({})", self.kind)
    }
}

impl Kinds {
    /// Adds the kinds that a server lists for one `apiVersion`.
    pub fn learn(&mut self, list: &APIResourceList) {
        let (group, version) = list.group_version.split_once('/').unwrap_or(("", &list.group_version));
        let kinds = self.0.entry(list.group_version.clone()).or_default();
        // `pods/log` and the like are subresources.
        for found in list.resources.iter().filter(|found| !found.name.contains('/')) {
            let gvk = GroupVersionKind::gvk(group, version, &found.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, &found.name);
            kinds.insert(found.kind.clone(), Kind { resource, namespaced: found.namespaced });
        }
    }

    /// Adds the kinds that a custom resource definition defines; ignores other objects.
    pub fn learn_definition(&mut self, object: &Value) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let (Some(group), Some(kind), Some(plural)) =
            (text("/spec/group"), text("/spec/names/kind"), text("/spec/names/plural"))
        else {
            return;
        };
        let namespaced = text("/spec/scope") != Some("Cluster");
        for version in object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
            let Some(version) = version.get("name").and_then(Value::as_str) else { continue };
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let kinds = self.0.entry(format!("{group}/{version}")).or_default();
            kinds.insert(kind.to_owned(), Kind { resource, namespaced });
        }
    }

    /// Returns the kind of an object.
    #[must_use]
    pub fn get(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0.get(api_version)?.get(kind)
    }

    /// Returns the objects of unknown kinds.
    #[must_use]
    pub fn unknown(&self, objects: &[Object]) -> Vec<UnknownKind> {
        let missing = |object: &&Object| self.get(&object.api_version(), &object.id.kind).is_none();
        let unknown = |object: &Object| {
            let api_version = object.api_version();
            let same_version = self.0.get(&api_version).into_iter().flat_map(BTreeMap::keys).map(String::as_str);
            let elsewhere = self.0.iter().filter(|(_, kinds)| kinds.contains_key(&object.id.kind));
            let near = elsewhere
                .map(|(version, _)| format!("apiVersion: {version}"))
                .next()
                .or_else(|| near::nearest(&object.id.kind, same_version).map(str::to_owned));
            UnknownKind { origin: object.origin.clone(), api_version, kind: object.id.kind.clone(), near }
        };
        objects.iter().filter(missing).map(unknown).collect()
    }
}

/// Returns the `apiVersion`s of the objects.
#[must_use]
pub fn versions(objects: &[Object]) -> BTreeSet<String> {
    objects.iter().map(Object::api_version).collect()
}
