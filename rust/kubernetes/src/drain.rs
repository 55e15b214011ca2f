//! Takes the pods of a node away before it goes down, and lets them come back: cordon, evict with respect for disruption budgets,
//! wait, uncordon.

use std::{fmt, time::Duration};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Error,
    api::{EvictParams, ListParams, Patch, PatchParams},
};
use machinist_model::NodeName;
use serde_json::json;
use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep};

use crate::{
    retry,
    server::{AT_ONCE, MANAGER, Server, ServerError},
};

/// Who has cordoned a node, if it was this tool: a node that a person cordoned stays so.
const CORDONED_BY: &str = "machinist.dev/cordoned-by";
/// The kubelet's own note on pods that it made from files: the API cannot remove them.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// How often a disruption budget or a pod that ends is asked about.
const LOOK: Duration = Duration::from_millis(500);

/// What becomes of pods that nobody makes anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmanaged {
    /// Nothing is done while there is one.
    #[default]
    Refuse,
    /// They are evicted, and gone.
    Evict,
    /// They stay.
    Leave,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Pods that nobody makes anew.
    pub unmanaged: Unmanaged,
    /// What is in `emptyDir` volumes.
    pub local_data: bool,
}

/// A pod as people name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// What a drain would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The pods that are evicted, each with its uid.
    pub evict: Vec<(Name, String)>,
    /// Why it must not be done.
    pub objections: Vec<String>,
}

/// Why a node is not drained, or not back.
#[derive(Debug, ThisError)]
pub enum DrainError {
    /// Something would be lost that was not said.
    #[error("{}", .0.join("; "))]
    Loses(Vec<String>),
    /// Pods stay.
    #[error("{} of its pods did not go away: {}", .0.len(), .0.join("; "))]
    Stay(Vec<String>),
    /// The node does not come back.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl DrainError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Loses(_) => Some("--delete-unmanaged-pods and --delete-local-data say that it may be lost"),
            Self::Stay(_) => Some("see the PodDisruptionBudgets, and whether other nodes have room for these pods"),
            Self::NotReady(_) => Some("`journalctl -u kubelet` there says why; the node stays cordoned"),
            Self::Server(_) => None,
        }
    }
}

/// Sorts the pods of a node: what a `DaemonSet` has made, what files of the kubelet have made and what has ended stays.
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
                plan.objections.push(format!("{name} would be gone: nobody makes it anew"));
            }
            _ => {}
        }
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        if volumes.into_iter().any(|volume| volume.empty_dir.is_some()) && !allowed.local_data && !has_ended {
            plan.objections.push(format!("{name} would lose what is in its emptyDir"));
        }
        plan.evict.push((name, metadata.uid.clone().unwrap_or_default()));
    }
    plan
}

impl Server {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.client())
    }

    /// Lets no new pod onto the node. `false` if it was cordoned before, by whomever.
    ///
    /// # Errors
    /// The server says no, or there is no such node.
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

    /// Lets pods onto the node again. With `only_ours` a node that somebody else cordoned stays so, and `false` is returned.
    ///
    /// # Errors
    /// The server says no, or there is no such node.
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

    /// Whether the cluster has the node at all: control planes that run no pods are none.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn has_node(&self, node: &NodeName) -> Result<bool, ServerError> {
        let nodes = self.nodes();
        Ok(self.patiently(|| nodes.get_metadata_opt(node.as_str())).await?.is_some())
    }

    /// Waits until the node is ready.
    ///
    /// # Errors
    /// It is not before `end`, or the server does not say.
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
                        ready.and_then(|ready| ready.message).unwrap_or_else(|| "its kubelet said nothing".into());
                    return Err(DrainError::NotReady(why));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    async fn pods_of(&self, node: &NodeName) -> Result<Vec<Pod>, ServerError> {
        let pods: Api<Pod> = Api::all(self.client());
        let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
        Ok(self.patiently(|| pods.list(&on_node)).await?.items)
    }

    /// Evicts the pods of a node that is cordoned, and waits until they are gone. `tell` is told what is waited for.
    ///
    /// # Errors
    /// Something would be lost that is not allowed, then nothing was evicted; or pods stay until `end`.
    pub async fn evict_all(
        &self,
        node: &NodeName,
        allowed: Allowed,
        end: Instant,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<usize, DrainError> {
        let plan = plan(&self.pods_of(node).await?, allowed);
        if !plan.objections.is_empty() {
            return Err(DrainError::Loses(plan.objections));
        }
        let count = plan.evict.len();
        if count > 0 {
            tell(&format!("{count} pods are evicted"));
        }
        let stay: Vec<String> = stream::iter(plan.evict)
            .map(|(name, uid)| async move {
                self.evict(&name, &uid, end, tell).await.err().map(|why| format!("{name} {why}"))
            })
            .buffer_unordered(AT_ONCE)
            .filter_map(|stays| async move { stays })
            .collect()
            .await;
        if stay.is_empty() { Ok(count) } else { Err(DrainError::Stay(stay)) }
    }

    /// Evicts one pod and waits until it is gone; the error is a verb phrase.
    async fn evict(
        &self,
        name: &Name,
        uid: &str,
        end: Instant,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), String> {
        let pods: Api<Pod> = Api::namespaced(self.client(), &name.namespace);
        let mut told = false;
        loop {
            match pods.evict(&name.name, &EvictParams::default()).await {
                Ok(_) => break,
                Err(Error::Api(status)) if status.code == 404 => return Ok(()),
                Err(error @ Error::Api(_)) if !is_held_back(&error) && !retry::is_transient(&error) => {
                    return Err(format!("cannot be evicted: {}", ServerError::from(error)));
                }
                Err(error) if Instant::now() >= end => {
                    return Err(format!("is held back: {}", ServerError::from(error)));
                }
                Err(error) => {
                    if !told && is_held_back(&error) {
                        tell(&format!("{name} is held back by a PodDisruptionBudget"));
                        told = true;
                    }
                    sleep(LOOK).await;
                }
            }
        }
        loop {
            match pods.get_metadata_opt(&name.name).await {
                // One of the same name may be made at once, as a StatefulSet does.
                Ok(Some(found)) if found.metadata.uid.as_deref() == Some(uid) => {}
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= end => {
                    return Err(format!("cannot be asked about: {}", ServerError::from(error)));
                }
                Err(_) => {}
            }
            if Instant::now() >= end {
                return Err("was told to end and has not ended".to_owned());
            }
            sleep(LOOK).await;
        }
    }
}

/// Whether a disruption budget says not now.
fn is_held_back(error: &Error) -> bool {
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
    fn what_a_controller_makes_anew_goes_and_what_belongs_to_the_node_stays() {
        let mirror = json!({ "metadata": { "annotations": { MIRROR: "x" } } });
        let pods = [
            pod("web", Some("ReplicaSet"), &json!({})),
            pod("agent", Some("DaemonSet"), &json!({})),
            pod("kube-vip", Some("Node"), &mirror),
        ];
        check(&pods, Allowed::default(), &["shop/web"], &[]);
    }

    #[test]
    fn what_would_be_lost_is_said_and_nothing_is_evicted_without_leave() {
        let scratch = json!({ "spec": { "volumes": [{ "name": "scratch", "emptyDir": {} }] } });
        let pods = [pod("bare", None, &json!({})), pod("cache", Some("ReplicaSet"), &scratch)];
        let objections =
            ["shop/bare would be gone: nobody makes it anew", "shop/cache would lose what is in its emptyDir"];
        check(&pods, Allowed::default(), &["shop/bare", "shop/cache"], &objections);
        let all = |unmanaged| Allowed { unmanaged, local_data: true };
        check(&pods, all(Unmanaged::Evict), &["shop/bare", "shop/cache"], &[]);
        check(&pods, all(Unmanaged::Leave), &["shop/cache"], &[]);
    }

    #[test]
    fn a_pod_that_has_ended_is_nobodys_loss() {
        check(
            &[pod("job", None, &json!({ "status": { "phase": "Succeeded" } }))],
            Allowed::default(),
            &["shop/job"],
            &[],
        );
    }
}
