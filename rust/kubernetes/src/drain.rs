//! Node drain: cordon, evict pods within their disruption budgets, wait until they are gone, uncordon.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Error,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams},
};
use machinist_model::NodeName;
use serde_json::json;
use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep};

use crate::{
    retry,
    server::{AT_ONCE, MANAGER, Server, ServerError},
};

/// Annotation on nodes that machinist cordoned: a node that an operator cordoned stays cordoned.
const CORDONED_BY: &str = "machinist.dev/cordoned-by";
/// The kubelet's annotation on mirror pods of static manifests: the API cannot delete them.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Poll interval for disruption budgets and terminating pods.
const LOOK: Duration = Duration::from_millis(500);

/// Policy for pods without a controller, which are not recreated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmanaged {
    /// The drain is refused while there is one.
    #[default]
    Refuse,
    /// They are evicted, and lost.
    Evict,
    /// They are left running.
    Leave,
}

/// Data loss that the drain may cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Policy for pods without a controller.
    pub unmanaged: Unmanaged,
    /// True if the contents of `emptyDir` volumes may be lost.
    pub local_data: bool,
}

/// Namespace and name of a pod, printed as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name in the namespace.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// Effect of a drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The pods to evict, each with its uid.
    pub evict: Vec<(Name, String)>,
    /// Reasons to refuse the drain, one per pod and kind of loss.
    pub objections: Vec<String>,
}

/// Error draining or uncordoning a node.
#[derive(Debug, ThisError)]
pub enum DrainError {
    /// Pods or data would be lost without permission.
    #[error("{}", .0.join("; "))]
    Loses(Vec<String>),
    /// Pods remain on the node.
    #[error("{} pods remain on the node: {}", .0.len(), .0.join("; "))]
    Stay(Vec<String>),
    /// The node did not become ready.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// A request to the API server failed.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl DrainError {
    /// Returns a suggested fix, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Loses(_) => Some("--delete-unmanaged-pods and --delete-local-data allow this loss"),
            Self::Stay(_) => Some("check the PodDisruptionBudgets, and the free capacity of the other nodes"),
            Self::NotReady(_) => Some("run `journalctl -u kubelet` on the node; it stays cordoned"),
            Self::Server(_) => None,
        }
    }
}

/// Plans the eviction of a node's pods. Pods of a `DaemonSet`, static pods and finished pods stay.
#[must_use]
pub fn plan(pods: &[Pod], allowed: Allowed) -> Plan {
    let mut plan = Plan::default();
    for pod in pods {
        let metadata = &pod.metadata;
        let name = Name {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let is_mirror = metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR);
        if is_mirror || owner.is_some_and(|owner| owner.kind == "DaemonSet") {
            continue;
        }
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
        match allowed.unmanaged {
            Unmanaged::Leave if owner.is_none() => continue,
            Unmanaged::Refuse if owner.is_none() && !has_ended => {
                plan.objections.push(format!("{name} has no controller and would not be recreated"));
            }
            _ => {}
        }
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        if volumes.into_iter().any(|volume| volume.empty_dir.is_some()) && !allowed.local_data && !has_ended {
            plan.objections.push(format!("{name} would lose its emptyDir data"));
        }
        plan.evict.push((name, metadata.uid.clone().unwrap_or_default()));
    }
    plan
}

impl Server {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.client())
    }

    /// Cordons the node. Returns `false` if it was already cordoned, by any client.
    ///
    /// # Errors
    /// The server rejects the request, or the node does not exist.
    pub async fn cordon(&self, node: &NodeName) -> Result<bool, ServerError> {
        let nodes = self.nodes();
        let found = self.patiently(|| nodes.get(node.as_str())).await?;
        if found.spec.and_then(|spec| spec.unschedulable) == Some(true) {
            return Ok(false);
        }
        let patch = json!({
            "metadata": { "annotations": { CORDONED_BY: MANAGER } },
            "spec": { "unschedulable": true },
        });
        self.patch(node, &patch).await?;
        Ok(true)
    }

    /// Uncordons the node. With `only_ours`, returns `false` and leaves a node alone that another client cordoned.
    ///
    /// # Errors
    /// The server rejects the request, or the node does not exist.
    pub async fn uncordon(&self, node: &NodeName, only_ours: bool) -> Result<bool, ServerError> {
        let nodes = self.nodes();
        let found = self.patiently(|| nodes.get(node.as_str())).await?;
        let is_ours = found.metadata.annotations.iter().flatten().any(|(key, _)| key == CORDONED_BY);
        if only_ours && !is_ours {
            return Ok(false);
        }
        let patch = json!({
            "metadata": { "annotations": { CORDONED_BY: null } },
            "spec": { "unschedulable": null },
        });
        self.patch(node, &patch).await?;
        Ok(true)
    }

    async fn patch(&self, node: &NodeName, patch: &serde_json::Value) -> Result<(), ServerError> {
        let nodes = self.nodes();
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        self.patiently(|| nodes.patch(node.as_str(), &parameters, &patch)).await?;
        Ok(())
    }

    /// Returns `true` if the node is registered: control planes that run no pods are not.
    ///
    /// # Errors
    /// The request failed.
    pub async fn has_node(&self, node: &NodeName) -> Result<bool, ServerError> {
        let nodes = self.nodes();
        Ok(self.patiently(|| nodes.get_metadata_opt(node.as_str())).await?.is_some())
    }

    /// Deletes the Node object, with which the pods of a lost machine end everywhere. True if there was one.
    ///
    /// # Errors
    /// The request failed.
    pub async fn delete_node(&self, node: &NodeName) -> Result<bool, ServerError> {
        let nodes = self.nodes();
        let existed = self.has_node(node).await?;
        if existed {
            let options = DeleteParams::default();
            let deleted = self.patiently(|| nodes.delete(node.as_str(), &options)).await;
            if let Err(error) = deleted
                && self.has_node(node).await?
            {
                return Err(error);
            }
        }
        Ok(existed)
    }

    /// Waits until the node is ready.
    ///
    /// # Errors
    /// The node is not ready by `end`, or the request failed.
    pub async fn until_ready(&self, node: &NodeName, end: Instant) -> Result<(), DrainError> {
        let nodes = self.nodes();
        loop {
            let found = self.patiently(|| nodes.get(node.as_str())).await?;
            let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
            match ready {
                Some(ready) if ready.status == "True" => return Ok(()),
                ready if Instant::now() >= end => {
                    let why =
                        ready.and_then(|ready| ready.message).unwrap_or_else(|| "no status from its kubelet".into());
                    return Err(DrainError::NotReady(why));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// Returns all nodes by name, each with the reason why it is not ready; None for a node that is.
    ///
    /// # Errors
    /// The request failed.
    pub async fn readiness(&self) -> Result<BTreeMap<String, Option<String>>, ServerError> {
        let nodes = self.nodes();
        let all = ListParams::default();
        let list = self.patiently(|| nodes.list(&all)).await?;
        let state = |node: Node| {
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
            let why = match ready {
                Some(ready) if ready.status == "True" => None,
                Some(ready) => Some(ready.message.unwrap_or_else(|| format!("its state is {}", ready.status))),
                None => Some("no status from its kubelet".to_owned()),
            };
            Some((node.metadata.name?, why))
        };
        Ok(list.items.into_iter().filter_map(state).collect())
    }

    async fn pods_of(&self, node: &NodeName) -> Result<Vec<Pod>, ServerError> {
        let pods: Api<Pod> = Api::all(self.client());
        let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
        Ok(self.patiently(|| pods.list(&on_node)).await?.items)
    }

    /// Evicts the pods of a cordoned node and waits until they are gone. Progress is passed to `report`.
    ///
    /// # Errors
    /// A loss that is not allowed, in which case nothing was evicted; or pods that remain at `end`.
    pub async fn evict_all(
        &self,
        node: &NodeName,
        allowed: Allowed,
        end: Instant,
        report: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<usize, DrainError> {
        let plan = plan(&self.pods_of(node).await?, allowed);
        if !plan.objections.is_empty() {
            return Err(DrainError::Loses(plan.objections));
        }
        let count = plan.evict.len();
        if count > 0 {
            report(&format!("evicting {count} pods"));
        }
        let stay: Vec<String> = stream::iter(plan.evict)
            .map(|(name, uid)| async move {
                self.evict(&name, &uid, end, report).await.err().map(|why| format!("{name}: {why}"))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(|stays| async move { stays })
            .collect()
            .await;
        if stay.is_empty() { Ok(count) } else { Err(DrainError::Stay(stay)) }
    }

    /// Evicts one pod and waits until it is gone. The error is a message without the pod's name.
    async fn evict(
        &self,
        name: &Name,
        uid: &str,
        end: Instant,
        report: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), String> {
        let pods: Api<Pod> = Api::namespaced(self.client(), &name.namespace);
        let mut reported = false;
        loop {
            match pods.evict(&name.name, &EvictParams::default()).await {
                Ok(_) => break,
                Err(Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error @ Error::Api(_)) if !is_blocked(&error) && !retry::is_transient(&error) => {
                    return Err(format!("eviction failed: {}", ServerError::from(error)));
                }
                Err(error) if Instant::now() >= end => {
                    return Err(format!("eviction blocked: {}", ServerError::from(error)));
                }
                Err(error) => {
                    if !reported && is_blocked(&error) {
                        report(&format!("{name}: eviction blocked by a PodDisruptionBudget"));
                        reported = true;
                    }
                    sleep(LOOK).await;
                }
            }
        }
        loop {
            match pods.get_metadata_opt(&name.name).await {
                // A new pod of the same name may appear at once, as with a StatefulSet.
                Ok(Some(found)) if found.metadata.uid.as_deref() == Some(uid) => {}
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= end => {
                    return Err(format!("status unknown: {}", ServerError::from(error)));
                }
                Err(_) => {}
            }
            if Instant::now() >= end {
                return Err("still terminating".to_owned());
            }
            sleep(LOOK).await;
        }
    }
}

/// True if a disruption budget blocks the eviction for now.
fn is_blocked(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 429)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn pod(name: &str, owner: Option<&str>, more: &Value) -> Pod {
        let owners: Vec<Value> = owner
            .map(|kind| json!({ "apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "u", "controller": true }))
            .into_iter()
            .collect();
        let mut value = json!({
            "metadata": { "name": name, "namespace": "shop", "uid": name, "ownerReferences": owners, "annotations": {} },
            "spec": { "containers": [] }, "status": { "phase": "Running" },
        });
        for (key, part) in more.as_object().unwrap() {
            for (inner, content) in part.as_object().unwrap() {
                value[key][inner] = content.clone();
            }
        }
        serde_json::from_value(value).unwrap()
    }

    #[track_caller]
    fn check(pods: &[Pod], allowed: Allowed, evicted: &[&str], objections: &[&str]) {
        let plan = plan(pods, allowed);
        let names: Vec<String> = plan.evict.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(
            (names, plan.objections),
            (evicted.iter().map(ToString::to_string).collect(), objections.iter().map(ToString::to_string).collect())
        );
    }

    #[test]
    fn pods_of_controllers_are_evicted_and_those_of_the_node_stay() {
        let mirror = json!({ "metadata": { "annotations": { MIRROR: "x" } } });
        let pods = [
            pod("web", Some("ReplicaSet"), &json!({})),
            pod("agent", Some("DaemonSet"), &json!({})),
            pod("kube-vip", Some("Node"), &mirror),
        ];
        check(&pods, Allowed::default(), &["shop/web"], &[]);
    }

    #[test]
    fn losses_are_listed_and_nothing_is_evicted_without_permission() {
        let scratch = json!({ "spec": { "volumes": [{ "name": "scratch", "emptyDir": {} }] } });
        let pods = [pod("bare", None, &json!({})), pod("cache", Some("ReplicaSet"), &scratch)];
        let objections =
            ["shop/bare has no controller and would not be recreated", "shop/cache would lose its emptyDir data"];
        check(&pods, Allowed::default(), &["shop/bare", "shop/cache"], &objections);
        let all = |unmanaged| Allowed { unmanaged, local_data: true };
        check(&pods, all(Unmanaged::Evict), &["shop/bare", "shop/cache"], &[]);
        check(&pods, all(Unmanaged::Leave), &["shop/cache"], &[]);
    }

    #[test]
    fn a_finished_pod_is_no_loss() {
        check(
            &[pod("job", None, &json!({ "status": { "phase": "Succeeded" } }))],
            Allowed::default(),
            &["shop/job"],
            &[],
        );
    }
}
