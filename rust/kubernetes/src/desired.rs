//! Desired state of a cluster: objects derived from machines.nix, and those of the user's manifests.

use std::collections::BTreeMap;

use machinist_model::Cluster;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    bootstrap::{self, NIXOS_UNSCHEDULABLE, NodeMarks},
    manifest::Document,
    object::{self, Id, Object, ObjectError, Origin},
};

/// Version of the objects' format. A change makes every deploy apply once more.
const FORMAT: u32 = 1;

/// All desired objects and node marks.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The cluster's name, which is the label's value on all objects.
    pub cluster: String,
    /// The objects, each labelled as machinist's, in the order they are written.
    pub objects: Vec<Object>,
    /// Labels and taints of nodes. The nodes themselves belong to the kubelets.
    pub nodes: Vec<NodeMarks>,
}

/// Position of an object in the order of writes: each phase may depend on earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Namespaces.
    Namespaces,
    /// Definitions of custom kinds.
    Definitions,
    /// Service accounts and RBAC.
    Rights,
    /// Configuration that pods read at start, and resources that they claim.
    Settings,
    /// Workloads, and everything else.
    Workloads,
    /// Webhooks and API services, which the API server calls before it admits an object: only once there are pods to
    /// answer.
    Hooks,
    /// Objects of custom kinds, which a webhook in the cluster may have to admit.
    Custom,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Self; 7] =
        [Self::Namespaces, Self::Definitions, Self::Rights, Self::Settings, Self::Workloads, Self::Hooks, Self::Custom];

    /// Returns the phase of an object.
    #[must_use]
    pub fn of(id: &Id) -> Self {
        match id.kind.as_str() {
            "Namespace" if id.group.is_empty() => Self::Namespaces,
            "CustomResourceDefinition" => Self::Definitions,
            "APIService" | "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => Self::Hooks,
            "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => Self::Rights,
            "ConfigMap"
            | "Secret"
            | "LimitRange"
            | "ResourceQuota"
            | "NetworkPolicy"
            | "PriorityClass"
            | "RuntimeClass"
            | "StorageClass"
            | "IngressClass"
            | "PersistentVolume"
            | "PersistentVolumeClaim"
            | "Service" => Self::Settings,
            _ if is_own(&id.group) => Self::Workloads,
            _ => Self::Custom,
        }
    }
}

/// True if a group is one of Kubernetes' own: without a dot, or below k8s.io, which is reserved.
fn is_own(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// Returns the desired state. A user's object replaces a generated one of the same name.
///
/// # Errors
/// Documents that are not objects, and duplicate objects.
pub fn desired(cluster: &Cluster, documents: &[Document]) -> Result<Desired, Vec<ObjectError>> {
    let mut errors = Vec::new();
    let mut written: BTreeMap<Id, Object> = BTreeMap::new();
    for found in documents.iter().map(object::parse) {
        match found {
            Err(found) => errors.extend(found),
            Ok(found) => found.into_iter().for_each(|object| add(&mut written, object, &mut errors)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut objects = bootstrap::objects(cluster);
    objects.retain(|object| !written.contains_key(&object.id));
    objects.extend(written.into_values());
    objects.sort_by(|a, b| order(a).cmp(&order(b)));
    objects.iter_mut().for_each(|object| object.mark(&cluster.name));
    Ok(Desired { cluster: cluster.name.clone(), objects, nodes: bootstrap::nodes(cluster) })
}

fn add(written: &mut BTreeMap<Id, Object>, object: Object, errors: &mut Vec<ObjectError>) {
    // A namespaced kind defaults to `default`.
    let mut same = vec![object.id.clone()];
    match object.id.namespace.as_deref() {
        None => same.push(Id { namespace: Some("default".to_owned()), ..object.id.clone() }),
        Some("default") => same.push(Id { namespace: None, ..object.id.clone() }),
        Some(_) => {}
    }
    match (same.iter().find_map(|id| written.get(id)).map(|first| &first.origin), &object.origin) {
        (Some(Origin::File(first)), Origin::File(second)) => {
            errors.push(ObjectError::Twice { id: Box::new(object.id), first: first.clone(), second: second.clone() });
        }
        _ => drop(written.insert(object.id.clone(), object)),
    }
}

/// By phase; within one in the order of the user's files, generated ones first.
fn order(object: &Object) -> (Phase, &Origin, &Id) {
    (Phase::of(&object.id), &object.origin, &object.id)
}

impl Desired {
    /// Returns a digest of the objects, without the nodes' marks.
    #[must_use]
    pub fn digest(&self) -> String {
        let values: Vec<_> = self.objects.iter().map(|object| &object.value).collect();
        digest(&json!({ "format": FORMAT, "cluster": self.cluster, "objects": values }))
    }
}

impl NodeMarks {
    /// Returns a digest of the marks.
    #[must_use]
    pub fn digest(&self) -> String {
        // 64 bits suffice to distinguish two versions of machines.nix.
        let marks = json!({
            "format": FORMAT, "labels": self.labels, "taints": self.taints, "removed": [NIXOS_UNSCHEDULABLE],
        });
        digest(&marks)[..16].to_owned()
    }
}

/// The keys of a `serde_json` map are sorted, so equal values have equal texts.
fn digest(value: &serde_json::Value) -> String {
    Sha256::digest(value.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use machinist_model::fixtures;

    use super::{Desired, desired};
    use crate::{manifest, object::ObjectError};

    fn with(text: &str) -> Result<Desired, Vec<ObjectError>> {
        desired(&fixtures::ha_kubernetes(), &manifest::parse(Path::new("m.yaml"), text).unwrap())
    }

    const MIXED: &str = "
apiVersion: magi.dev/v1
kind: Computer
metadata: { name: melchior }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: hook }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: computers.magi.dev }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
";

    #[test]
    fn what_others_need_is_written_first() {
        let objects = with(MIXED).unwrap().objects;
        let own: Vec<String> = objects
            .iter()
            .filter(|object| object.origin.to_string() != "machines.nix")
            .map(|object| object.id.to_string())
            .collect();
        assert_eq!(
            own,
            [
                "Namespace shop",
                "CustomResourceDefinition computers.magi.dev",
                "ConfigMap shop/settings",
                "Deployment shop/web",
                "ValidatingWebhookConfiguration hook",
                "Computer melchior",
            ]
        );
        assert!(objects.iter().all(|object| object.value["metadata"]["labels"]["machinist.dev/cluster"] == "magi"));
    }

    #[test]
    fn a_persons_object_takes_the_place_of_a_generated_one() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: coredns, namespace: kube-system }\ndata: { Corefile: x }\n";
        let generated = with("").unwrap();
        let found = with(text).unwrap();
        assert_eq!(found.objects.len(), generated.objects.len());
        let settings = found.objects.iter().find(|object| object.id.kind == "ConfigMap").unwrap();
        assert_eq!(
            (settings.origin.to_string().as_str(), &settings.value["data"]["Corefile"]),
            ("m.yaml:1", &"x".into())
        );
    }

    #[test]
    fn one_object_in_two_places_is_refused() {
        let secret =
            |namespace: &str| format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: a{namespace} }}\n");
        let errors = with(&format!("{}{}", secret(""), secret(", namespace: default"))).unwrap_err();
        assert_eq!(errors[0].to_string(), "m.yaml:6: Secret default/a is also defined in m.yaml:2");
        assert!(with(&format!("{}{}", secret(""), secret(", namespace: b"))).is_ok());
    }

    #[test]
    fn the_digest_follows_what_is_said_and_nothing_else() {
        let digest = |text: &str| with(text).unwrap().digest();
        let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n";
        assert_eq!(digest(pod), digest("# a comment\nkind: Pod\nmetadata: { name: a }\napiVersion: v1\n"));
        assert_ne!(digest(pod), digest("apiVersion: v1\nkind: Pod\nmetadata:\n  name: b\n"));
        assert_ne!(digest(pod), digest(""));
    }
}
