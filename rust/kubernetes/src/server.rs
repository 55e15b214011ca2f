//! Questions to one API server, each asked again while the failure is one that passes.

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

/// Who writes, in the server's record of who owns which field.
pub const MANAGER: &str = "machinist";

/// How many requests are under way at once: each has a stream of its own, and a connection to a node carries eight.
pub const AT_ONCE: usize = 4;

/// What the API server said, or that it said nothing.
#[derive(Debug, ThisError)]
pub enum ServerError {
    /// Somebody else has set fields that are to be set.
    #[error("others have set fields of it: {0}")]
    Conflict(String),
    /// It said no.
    #[error("the API server says: {0}")]
    Refused(String),
    /// It said nothing.
    #[error("the API server does not answer")]
    Silent(#[source] Error),
}

impl From<Error> for ServerError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) if status.code == 409 && status.message.contains("conflict") => {
                Self::Conflict(status.message.trim_start_matches("Apply failed with ").to_owned())
            }
            // A status without a text is one that a proxy made.
            Error::Api(status) if status.message.is_empty() => Self::Refused(format!("status {}", status.code)),
            Error::Api(status) => Self::Refused(status.message.trim().to_owned()),
            other => Self::Silent(other),
        }
    }
}

/// How an object is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Whether it is only tried.
    pub dry_run: bool,
    /// Whether fields are taken that others have set.
    pub force: bool,
}

/// One API server.
#[derive(Clone)]
pub struct Server {
    client: Client,
    deadline: Instant,
}

impl Server {
    /// Returns the server behind the client. After `deadline` nothing is asked a second time.
    #[must_use]
    pub const fn new(client: Client, deadline: Instant) -> Self {
        Self { client, deadline }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Asks, and again while the failure is one that passes.
    pub(crate) async fn patiently<T, F: std::future::Future<Output = Result<T, Error>>>(
        &self,
        ask: impl FnMut() -> F,
    ) -> Result<T, ServerError> {
        Ok(retry::until(self.deadline, ask).await?)
    }

    /// As [`Self::patiently`], with the client's own error.
    pub(crate) async fn patiently_raw<T, F: std::future::Future<Output = Result<T, Error>>>(
        &self,
        ask: impl FnMut() -> F,
    ) -> Result<T, Error> {
        retry::until(self.deadline, ask).await
    }

    /// Asks whether it is ready to serve.
    ///
    /// # Errors
    /// It is not, or nobody answers.
    pub async fn ready(&self) -> Result<(), ServerError> {
        let ask = || async {
            let request = http::Request::get("/readyz").body(Vec::new()).map_err(Error::HttpError)?;
            self.client.request_text(request).await
        };
        retry::until(self.deadline, ask).await?;
        Ok(())
    }

    /// Asks for the kinds of all versions that the objects are of, and adds those that the objects define.
    ///
    /// # Errors
    /// The server does not say.
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
        let ask = || async {
            if version.contains('/') {
                self.client.list_api_group_resources(version).await
            } else {
                self.client.list_core_api_resources(version).await
            }
        };
        match retry::until(self.deadline, ask).await {
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

    /// Returns an object as it is, if it is there.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn get(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, ServerError> {
        let api = self.api(kind, namespace);
        match retry::until(self.deadline, || api.get(name)).await {
            Ok(found) => Ok(Some(found)),
            // Also where the kind itself comes only later.
            Err(Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings the fields of `value` to an object, or makes it. Unknown fields are refused.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
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

    /// Changes what a merge patch names.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub async fn merge(&self, kind: &Kind, name: &str, value: &Value) -> Result<DynamicObject, ServerError> {
        let api = self.api(kind, None);
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(value);
        Ok(retry::until(self.deadline, || api.patch(name, &parameters, &patch)).await?)
    }

    /// Removes an object, if it is still the one with this uid. What it owns goes after it.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
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

    /// Returns names, labels and the like of all objects of a kind.
    ///
    /// # Errors
    /// The server does not say.
    pub async fn list(&self, kind: &Kind) -> Result<Vec<PartialObjectMeta<DynamicObject>>, ServerError> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.resource);
        let parameters = ListParams::default();
        Ok(retry::until(self.deadline, || api.list_metadata(&parameters)).await?.items)
    }

    /// Writes an object whole: makes it, or replaces the version of it that was read.
    ///
    /// # Errors
    /// The server refuses, also when somebody else has changed it meanwhile.
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
        let ask = || async {
            if is_new { api.create(&parameters, value).await } else { api.replace(name, &parameters, value).await }
        };
        Ok(retry::until(self.deadline, ask).await?)
    }

    /// Waits until a definition's kinds are served.
    ///
    /// # Errors
    /// They are not in time, or the server does not say.
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
