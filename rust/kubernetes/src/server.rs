//! Requests to one API server, retried on transient failures.

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client, Error,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy,
        ValidationDirective,
    },
    core::PartialObjectMeta,
};
use serde_json::Value;
use thiserror::Error as ThisError;
use tokio::time::Instant;

use crate::{
    kinds::{Kind, Kinds, versions},
    object::Object,
    retry,
};

/// The field manager's name in the server's record of field ownership.
pub const MANAGER: &str = "machinist";

/// Maximum number of concurrent requests: each uses one stream, and a connection to a node carries eight.
pub const AT_ONCE: usize = 4;

/// Error of a request.
#[derive(Debug, ThisError)]
pub enum ServerError {
    /// Another field manager owns fields that the request sets.
    #[error("fields are owned by another manager: {0}")]
    Conflict(String),
    /// The server rejected the request.
    #[error("rejected by the API server: {0}")]
    Refused(String),
    /// No response.
    #[error("the API server does not answer")]
    Silent(#[source] Error),
}

impl From<Error> for ServerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) if status.code == 409 && status.message.contains("conflict") => {
                Self::Conflict(status.message.trim_start_matches("Apply failed with ").to_owned())
            }
            // A status without a message comes from a proxy.
            Error::Api(status) if status.message.is_empty() => Self::Refused(format!("status {}", status.code)),
            Error::Api(status) => Self::Refused(status.message.trim().to_owned()),
            other => Self::Silent(other),
        }
    }
}

/// Options of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// True for a server-side dry run.
    pub dry_run: bool,
    /// True to take over fields of other managers.
    pub force: bool,
}

/// One API server.
#[derive(Clone)]
pub struct Server {
    client: Client,
    deadline: Instant,
}

impl Server {
    /// Returns the server behind the client. Requests are not retried after `deadline`.
    #[must_use]
    pub const fn new(client: Client, deadline: Instant) -> Self {
        Self { client, deadline }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Sends the request, with retries on transient failures.
    pub(crate) async fn patiently<T, F: std::future::Future<Output = Result<T, Error>>>(
        &self,
        send: impl FnMut() -> F,
    ) -> Result<T, ServerError> {
        Ok(retry::until(self.deadline, send).await?)
    }

    /// As [`Self::patiently`], with the client's own error.
    pub(crate) async fn patiently_raw<T, F: std::future::Future<Output = Result<T, Error>>>(
        &self,
        send: impl FnMut() -> F,
    ) -> Result<T, Error> {
        retry::until(self.deadline, send).await
    }

    /// Checks that the server is ready.
    ///
    /// # Errors
    /// It is not ready, or does not answer.
    pub async fn ready(&self) -> Result<(), ServerError> {
        let send = || async {
            let request = http::Request::get("/readyz").body(Vec::new()).map_err(Error::HttpError)?;
            self.client.request_text(request).await
        };
        retry::until(self.deadline, send).await?;
        Ok(())
    }

    /// Discovers the kinds of all `apiVersion`s of the objects, and adds those that the objects define.
    ///
    /// # Errors
    /// The request failed.
    pub async fn kinds(&self, objects: &[Object]) -> Result<Kinds, ServerError> {
        let lists: Vec<_> = stream::iter(versions(objects))
            .map(|version| async move { self.resources(&version).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut kinds = Kinds::default();
        lists.iter().flatten().for_each(|list| kinds.learn(list));
        objects.iter().filter(|object| object.id.kind == "CustomResourceDefinition").for_each(|object| {
            kinds.learn_definition(&object.value);
        });
        Ok(kinds)
    }

    async fn resources(
        &self,
        version: &str,
    ) -> Result<Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList>, Error> {
        let send = || async {
            if version.contains('/') {
                self.client.list_api_group_resources(version).await
            } else {
                self.client.list_core_api_resources(version).await
            }
        };
        match retry::until(self.deadline, send).await {
            Ok(list) => Ok(Some(list)),
            Err(Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.filter(|_| kind.namespaced) {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource),
            None if kind.namespaced => Api::namespaced_with(self.client.clone(), "default", &kind.resource),
            None => Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    /// Returns an object's current state, if it exists.
    ///
    /// # Errors
    /// The request failed.
    pub async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, ServerError> {
        let api = self.api(kind, namespace);
        match retry::until(self.deadline, || api.get(name)).await {
            Ok(found) => Ok(Some(found)),
            // Also if the kind itself is not defined yet.
            Err(Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies `value` to an object (server-side apply), or creates it. Unknown fields are rejected.
    ///
    /// # Errors
    /// The server rejects the request, or does not answer.
    pub async fn write(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        value: &Value,
        how: Write,
    ) -> Result<DynamicObject, ServerError> {
        let api = self.api(kind, namespace);
        let parameters = PatchParams {
            dry_run: how.dry_run,
            force: how.force,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let patch = Patch::Apply(value);
        Ok(retry::until(self.deadline, || api.patch(name, &parameters, &patch)).await?)
    }

    /// Applies a merge patch.
    ///
    /// # Errors
    /// The server rejects the request, or does not answer.
    pub async fn merge(&self, kind: &Kind, name: &str, value: &Value) -> Result<DynamicObject, ServerError> {
        let api = self.api(kind, None);
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(value);
        Ok(retry::until(self.deadline, || api.patch(name, &parameters, &patch)).await?)
    }

    /// Deletes an object if it still has this uid. Its dependents are deleted after it.
    ///
    /// # Errors
    /// The server rejects the request, or does not answer.
    pub async fn remove(&self, kind: &Kind, namespace: Option<&str>, name: &str, uid: &str) -> Result<(), ServerError> {
        let api = self.api(kind, namespace);
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        match retry::until(self.deadline, || api.delete(name, &parameters)).await {
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            answer => Ok(answer.map(drop)?),
        }
    }

    /// Returns the metadata of all objects of a kind.
    ///
    /// # Errors
    /// The request failed.
    pub async fn list(&self, kind: &Kind) -> Result<Vec<PartialObjectMeta<DynamicObject>>, ServerError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.resource);
        let parameters = ListParams::default();
        Ok(retry::until(self.deadline, || api.list_metadata(&parameters)).await?.items)
    }

    /// Writes a complete object: creates it, or replaces the version that was read.
    ///
    /// # Errors
    /// The server rejects the request, for example because another client changed the object meanwhile.
    pub async fn store(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        value: &DynamicObject,
    ) -> Result<DynamicObject, ServerError> {
        let api = self.api(kind, Some(namespace));
        let parameters = kube::api::PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let is_new = value.metadata.resource_version.is_none();
        let send = || async {
            if is_new { api.create(&parameters, value).await } else { api.replace(name, &parameters, value).await }
        };
        Ok(retry::until(self.deadline, send).await?)
    }

    /// Waits until a definition's kinds are served. Returns `false` at the deadline.
    ///
    /// # Errors
    /// The request failed.
    pub async fn established(&self, kind: &Kind, name: &str) -> Result<bool, ServerError> {
        loop {
            let found = self.get(kind, None, name).await?;
            let conditions = found.as_ref().and_then(|found| found.data.pointer("/status/conditions")?.as_array());
            let is = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
            if conditions.is_some_and(|conditions| conditions.iter().any(is)) {
                return Ok(true);
            }
            if Instant::now() >= self.deadline {
                return Ok(false);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}
