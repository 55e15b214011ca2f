//! Objects derived from machines.nix. Pure: the same cluster gives the same objects.
//!
//! They use the types of the oldest API version in `k8s-openapi`, so that they contain no field unknown to a supported
//! server.

mod coredns;
mod issuers;
mod load_balancer;
mod node;
mod rbac;

use k8s_openapi::{Metadata, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use machinist_model::{Cluster, Orchestrator};
use serde::Serialize;
use serde_json::Value;

pub use self::{
    issuers::CERT_MANAGER_GROUP,
    node::{NIXOS_UNSCHEDULABLE, NodeMarks, TAINTS},
};
use crate::object::{Id, Object, Origin};

/// The namespace of the cluster's own add-ons.
const SYSTEM: &str = "kube-system";

/// Returns the objects that machines.nix requires, without those of nodes. k3s ships most of them itself.
#[must_use]
pub fn objects(cluster: &Cluster) -> Vec<Object> {
    let mut objects = Vec::new();
    if cluster.orchestrator == Some(Orchestrator::Kubernetes) {
        objects.extend(rbac::objects(cluster));
    }
    if let (Some(coredns), Some(dns)) = (&cluster.objects.coredns, cluster.network.dns) {
        objects.extend(coredns::objects(cluster, coredns, dns));
    }
    if let Some(balancer) = &cluster.objects.load_balancer {
        objects.extend(load_balancer::objects(balancer));
    }
    if let Some(acme) = &cluster.objects.acme {
        objects.extend(issuers::objects(acme));
    }
    objects
}

/// Returns labels and taints of the cluster's nodes, sorted by name.
#[must_use]
pub fn nodes(cluster: &Cluster) -> Vec<NodeMarks> {
    cluster.kubernetes_nodes().map(|node| node::marks(cluster, node)).collect()
}

/// Metadata with name, namespace and labels.
fn named(name: &str, namespace: Option<&str>, labels: &[(&str, &str)]) -> ObjectMeta {
    let labels: std::collections::BTreeMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: (!labels.is_empty()).then_some(labels),
        ..ObjectMeta::default()
    }
}

/// The object as serialised for the API server.
fn typed<T: Serialize + Resource + Metadata<Ty = ObjectMeta>>(object: &T) -> Option<Object> {
    let metadata = object.metadata();
    Some(Object {
        id: Id {
            group: T::GROUP.to_owned(),
            kind: T::KIND.to_owned(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        version: T::VERSION.to_owned(),
        value: without_nulls(serde_json::to_value(object).ok()?),
        origin: Origin::Generated,
    })
}

/// Empty values would claim ownership of fields that are deliberately unset.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn texts<const N: usize>(items: [&str; N]) -> Vec<String> {
    items.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests;
