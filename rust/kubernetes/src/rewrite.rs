//! Rewrites every Secret unchanged, so that etcd stores it encrypted with the API servers' current key.
//!
//! For a request that changes nothing, an API server only writes to etcd if the stored value was encrypted with another
//! key than the first of its configuration. So an empty patch suffices, a second pass that changes no version proves
//! that all Secrets use the current key, and their contents never leave the server.

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Error,
    api::{DynamicObject, Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use thiserror::Error as ThisError;

use crate::{
    apply::core_kind,
    server::{AT_ONCE, MANAGER, Server, ServerError},
};

/// Maximum number of passes; if more are needed, another writer uses a different key.
const PASSES: usize = 5;

/// Counts of Secrets and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The number of Secrets in the cluster.
    pub secrets: usize,
    /// The number of writes.
    pub writes: usize,
}

/// Error rewriting Secrets.
#[derive(Debug, ThisError)]
pub enum RewriteError {
    /// The API server rejected a write, or did not answer.
    #[error("cannot rewrite Secret {secret}")]
    Secret {
        /// Namespace and name of the Secret.
        secret: String,
        /// The server's error.
        source: ServerError,
    },
    /// Listing failed: a single Secret that cannot be decrypted fails the whole list.
    #[error("cannot list Secrets")]
    List(#[source] ServerError),
    /// Every pass wrote Secrets.
    #[error("Secrets still change after {PASSES} passes: {writes} of {secrets} in the last one")]
    Unsettled {
        /// The number of Secrets.
        secrets: usize,
        /// The number of writes in the last pass.
        writes: usize,
    },
}

impl RewriteError {
    /// Returns a suggested fix, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsettled { .. } => {
                Some("an API server may still use another key: `machinist deploy --all`".to_owned())
            }
            Self::List(_) => Some("`journalctl --unit kube-apiserver` on a control plane names the Secret".to_owned()),
            Self::Secret { .. } => None,
        }
    }
}

/// Rewrites every Secret, until a pass has nothing to write.
///
/// # Errors
/// The server rejects a request, does not answer, or Secrets keep changing.
pub async fn rewrite(server: &Server) -> Result<Rewritten, RewriteError> {
    let mut total = 0;
    let mut last = (0, 0);
    for _ in 0..PASSES {
        let (secrets, writes) = pass(server).await?;
        total += writes;
        if writes == 0 {
            return Ok(Rewritten { secrets, writes: total });
        }
        last = (secrets, writes);
    }
    Err(RewriteError::Unsettled { secrets: last.0, writes: last.1 })
}

/// Returns the number of Secrets, and how many of them were written.
async fn pass(server: &Server) -> Result<(usize, usize), RewriteError> {
    let kind = core_kind("Secret", "secrets", true);
    let secrets = server.list(&kind).await.map_err(RewriteError::List)?;
    let written: Vec<bool> =
        stream::iter(&secrets).map(|secret| write(server, secret)).buffered(AT_ONCE).try_collect().await?;
    Ok((secrets.len(), written.into_iter().filter(|written| *written).count()))
}

/// Returns `true` if the Secret was written, by this request or by another client since it was listed.
async fn write(server: &Server, secret: &PartialObjectMeta<DynamicObject>) -> Result<bool, RewriteError> {
    let kind = core_kind("Secret", "secrets", true);
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let namespace = secret.metadata.namespace.as_deref().unwrap_or_default();
    let version = &secret.metadata.resource_version;
    let api: Api<DynamicObject> = Api::namespaced_with(server.client(), namespace, &kind.resource);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "metadata": { "uid": secret.metadata.uid, "resourceVersion": version } }));
    let answer = server.patiently_raw(|| api.patch_metadata(name, &parameters, &patch)).await;
    match answer {
        Ok(after) => Ok(after.metadata.resource_version != *version),
        // Another client has changed it meanwhile: the next pass checks what it wrote.
        Err(Error::Api(status)) if status.code == 409 => Ok(true),
        Err(Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(RewriteError::Secret { secret: format!("{namespace}/{name}"), source: error.into() }),
    }
}
