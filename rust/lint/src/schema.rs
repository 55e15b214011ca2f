//! Unknown fields, types and kinds. An object is deserialised into Kubernetes' own types and serialised again: a field
//! that is lost on the way is unknown.

use k8s_openapi::{
    api::{
        apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch, coordination::v1 as coordination,
        core::v1 as core, discovery::v1 as discovery, networking::v1 as networking, node::v1 as node,
        policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Finding, SCHEMA_MINOR, deprecated,
    item::{Item, at},
};

/// Deserialises and serialises a value, or returns place and reason of a type error.
type Reader = fn(&Value) -> Result<Value, (String, String)>;

fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, (String, String)> {
    let wrong = |error: serde_path_to_error::Error<serde_json::Error>| {
        let pointer = error.path().iter().filter_map(segment).fold(String::new(), |parent, key| at(&parent, &key));
        (pointer, error.into_inner().to_string())
    };
    let object: T = serde_path_to_error::deserialize(value).map_err(wrong)?;
    serde_json::to_value(object).map_err(|error| (String::new(), error.to_string()))
}

fn segment(segment: &serde_path_to_error::Segment) -> Option<String> {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

macro_rules! kinds {
    ($($version:literal: $($module:ident::$kind:ident),+;)+) => {
        &[$($(($version, stringify!($kind), through::<$module::$kind> as Reader)),+),+]
    };
}

/// The known kinds.
const KINDS: &[(&str, &str, Reader)] = kinds! {
    "v1": core::ConfigMap, core::Endpoints, core::LimitRange, core::Namespace, core::Node, core::PersistentVolume,
        core::PersistentVolumeClaim, core::Pod, core::PodTemplate, core::ReplicationController, core::ResourceQuota,
        core::Secret, core::Service, core::ServiceAccount;
    "apps/v1": apps::DaemonSet, apps::Deployment, apps::ReplicaSet, apps::StatefulSet;
    "autoscaling/v2": autoscaling::HorizontalPodAutoscaler;
    "batch/v1": batch::CronJob, batch::Job;
    "coordination.k8s.io/v1": coordination::Lease;
    "discovery.k8s.io/v1": discovery::EndpointSlice;
    "networking.k8s.io/v1": networking::Ingress, networking::IngressClass, networking::NetworkPolicy;
    "node.k8s.io/v1": node::RuntimeClass;
    "policy/v1": policy::PodDisruptionBudget;
    "rbac.authorization.k8s.io/v1": rbac::ClusterRole, rbac::ClusterRoleBinding, rbac::Role, rbac::RoleBinding;
    "scheduling.k8s.io/v1": scheduling::PriorityClass;
    "storage.k8s.io/v1": storage::CSIDriver, storage::StorageClass;
    "apiextensions.k8s.io/v1": extensions::CustomResourceDefinition;
};

/// Groups of Kubernetes itself whose kinds are not checked, since applications do not use them.
const OTHERS: [&str; 8] = [
    "admissionregistration.k8s.io/",
    "apiregistration.k8s.io/",
    "authentication.k8s.io/",
    "authorization.k8s.io/",
    "certificates.k8s.io/",
    "flowcontrol.apiserver.k8s.io/",
    "resource.k8s.io/",
    "storagemigration.k8s.io/",
];

/// Checks one object.
pub fn check(item: &Item<'_>, minor: u16, findings: &mut Vec<Finding>) {
    for (field, found) in [("apiVersion", item.api_version), ("kind", item.kind)] {
        if found.is_empty() {
            findings.push(item.error("no-object", "", format!("missing {field}: not a Kubernetes object")));
            return;
        }
    }
    if item.name.is_empty() && item.value.pointer("/metadata/generateName").is_none() {
        findings.push(item.error("no-object", "/metadata", format!("this {} has no metadata.name", item.kind)));
    }
    match KINDS.iter().find(|(version, kind, _)| *version == item.api_version && *kind == item.kind) {
        Some((_, _, read)) => fields(item, *read, minor, findings),
        None if deprecated::gone(item).is_some() => {}
        None => kind(item, findings),
    }
}

/// Custom kinds are in groups with a dot; Kubernetes' own groups have none, or end in k8s.io.
fn kind(item: &Item<'_>, findings: &mut Vec<Finding>) {
    let group = item.api_version.split_once('/').map(|(group, _)| group);
    let is_own = group.is_none_or(|group| {
        !group.contains('.') || KINDS.iter().any(|(version, _, _)| version.starts_with(&format!("{group}/")))
    });
    if !is_own || OTHERS.iter().any(|group| item.api_version.starts_with(group)) {
        return;
    }
    let message = format!("Kubernetes has no kind {} in {}", item.kind, item.api_version);
    let versions: Vec<&str> =
        KINDS.iter().filter(|(_, kind, _)| *kind == item.kind).map(|(version, _, _)| *version).collect();
    let near = machinist_model::near::nearest(item.kind, KINDS.iter().map(|(_, kind, _)| *kind));
    let finding = item.error("unknown-kind", if versions.is_empty() { "/kind" } else { "/apiVersion" }, message);
    findings.push(match (versions.as_slice(), near) {
        ([], Some(near)) => finding.hint(format!("did you mean {near}?")),
        ([], None) => finding,
        (versions, _) => finding.hint(format!("write {}", versions.join(" or "))),
    });
}

fn fields(item: &Item<'_>, read: Reader, minor: u16, findings: &mut Vec<Finding>) {
    match read(item.value) {
        Err((place, why)) => {
            findings.push(item.error("wrong-type", &place, format!("{}: {why}", item.title())));
        }
        Ok(written) => {
            let mut lost = Vec::new();
            compare(item.value, &written, "", &mut lost);
            for place in lost {
                let field = place.trim_start_matches('/').replace('/', ".");
                let message = format!("{} has no field {field}", item.kind);
                let finding = item.error("unknown-field", &place, message);
                let siblings = sibling_names(&written, &place);
                let name = place.rsplit('/').next().unwrap_or_default();
                let near = machinist_model::near::nearest(name, siblings.iter().map(String::as_str));
                findings.push(match near {
                    Some(near) => finding.hint(format!("did you mean {near}?")),
                    None if minor != SCHEMA_MINOR => {
                        finding.hint(format!("checked against Kubernetes 1.{SCHEMA_MINOR}; the cluster has 1.{minor}"))
                    }
                    None => finding
                        .hint("an API server drops it or rejects the object: remove it, or move it to the right place"),
                });
            }
        }
    }
}

/// The fields beside the lost one, as far as the object has them.
fn sibling_names(written: &Value, place: &str) -> Vec<String> {
    let parent = place.rfind('/').map_or("", |end| &place[..end]);
    let siblings = written.pointer(parent).and_then(Value::as_object);
    siblings.map(|siblings| siblings.keys().cloned().collect()).unwrap_or_default()
}

/// Collects the places in `given` that are missing in `written`. Kubernetes treats absent and empty alike.
fn compare(given: &Value, written: &Value, place: &str, lost: &mut Vec<String>) {
    match (given, written) {
        (Value::Object(given), Value::Object(written)) => {
            for (key, value) in given {
                let place = at(place, key);
                match written.get(key) {
                    Some(found) => compare(value, found, &place, lost),
                    None if is_nothing(value) => {}
                    None => lost.push(place),
                }
            }
        }
        (Value::Array(given), Value::Array(written)) => {
            for (position, (given, written)) in given.iter().zip(written).enumerate() {
                compare(given, written, &format!("{place}/{position}"), lost);
            }
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}
