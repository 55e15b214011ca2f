//! Connection to an API server, tunnelled over SSH to a control plane and its local server. It requires no virtual
//! address and no open port, and works for sandbox machines as for any other.

use std::{future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use machinist_kubernetes::{
    connect::{Access, Dial, client},
    server::Server,
};
use machinist_model::{Cluster, Node, Role, defaults};
use machinist_pki::user::{self, User};
use machinist_remote::Remote;
use machinist_rollout::step::Connector;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    failure::{Failure, Kind, OrFail as _},
    keyring::Keyring,
};

/// User name in the API server's audit log.
const USER: &str = "machinist";
/// Group with every permission, hard-coded in the API server: it works before any RBAC object exists.
const MASTERS: &str = "system:masters";
/// Validity of the certificate: the longest possible duration of a run.
const LIFE: time::Duration = time::Duration::minutes(30);
/// Time limit for one API server to become ready, before the next one is tried.
const READY: Duration = Duration::from_secs(3);
/// Time limit for any API server to become ready, and for retries of transient failures.
const PATIENCE: Duration = Duration::from_secs(60);

/// Dependencies of a connection to the cluster.
pub struct Reach<'a> {
    /// Directory of the certificates.
    pub certs: PathBuf,
    /// Cluster of the API servers.
    pub cluster: &'a Cluster,
    /// Connector to the nodes.
    pub connector: &'a Connector,
    /// Keyring that decrypts the authority's private key.
    pub keyring: &'a Keyring,
}

impl Reach<'_> {
    /// Runs a function with the first API server that is ready.
    ///
    /// # Errors
    /// No API server is ready, or the function failed.
    pub fn with_server<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        work: impl FnOnce(Server) -> F,
    ) -> Result<T, Failure> {
        let access = self.access()?;
        let runtime = runtime()?;
        let result = runtime.block_on(async { work(self.ready_server(&access).await?).await });
        // A stream may still be waiting for an unresponsive host.
        runtime.shutdown_background();
        result
    }

    /// Issues an in-memory certificate, equivalent to that of `machinist kubeconfig`.
    fn access(&self) -> Result<Access, Failure> {
        let hint =
            "the API is reached with the Kubernetes authority's key; `machinist deploy --no-objects` does without";
        let identities = self
            .keyring
            .open()
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()).hint(hint))?;
        let user = User { name: USER.to_owned(), group: Some(MASTERS.to_owned()), life: LIFE };
        let operators = &self.cluster.operators;
        let made = user::credentials(&self.certs, &user, OffsetDateTime::now_utc(), &identities, operators)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()).hint(hint))?;
        Ok(Access { authority: made.authority, certificate: made.certificate, key: made.key })
    }

    /// Tries the control planes in turn, until the time limit.
    async fn ready_server(&self, access: &Access) -> Result<Server, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut silent = Vec::new();
            for node in self.cluster.with_role(Role::ControlPlane) {
                match self.server_of(node, access, end).await {
                    Ok(server) => return Ok(server),
                    Err(why) => silent.push(why),
                }
            }
            if Instant::now() + READY >= end {
                return Err(Failure { causes: silent, ..Failure::new(Kind::Failed, "no API server is ready") }
                    .hint("see `machinist status`, and `journalctl -u kube-apiserver` on a control plane"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn server_of(&self, node: &Node, access: &Access, end: Instant) -> Result<Server, String> {
        let connector = Arc::clone(self.connector);
        let name = node.name.clone();
        let connected = tokio::task::spawn_blocking(move || connector.connect(&name)).await;
        let remote: Arc<dyn Remote> = match connected {
            Ok(Ok(remote)) => Arc::from(remote),
            Ok(Err(error)) => return Err(Failure::from_error(Kind::Failed, &error).in_one_line()),
            Err(error) => return Err(format!("{}: {error}", node.name)),
        };
        let port = self.cluster.kube_master.as_ref().map_or(defaults::API_PORT, |endpoint| endpoint.port);
        let dial: Dial = Arc::new(move || remote.tunnel("127.0.0.1", port).map_err(io::Error::other)?.into_socket());
        let client = client(access, dial).map_err(|error| Failure::from_error(Kind::Failed, &error).in_one_line())?;
        let trial = Server::new(client.clone(), Instant::now() + READY);
        match trial.ready().await {
            Ok(()) => Ok(Server::new(client, end)),
            Err(error) => {
                let why = Failure::from_error(Kind::Failed, &error).in_one_line();
                Err(format!("{}: {why}", node.name))
            }
        }
    }
}

/// Creates the runtime of the requests.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().failed()
}
