//! Connection to an API server, tunnelled over SSH to a control plane and its local server. It requires no virtual
//! address and no open port, and works for sandbox machines as for any other.

use std::{future::Future, io, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use machinist_kubernetes::{
    connect::{Access, Dial, client},
    server::Server,
};
use machinist_model::{Cluster, Node, NodeName, Role, defaults};
use machinist_pki::user::{self, User};
use machinist_remote::Remote;
use machinist_rollout::step::Connector;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    failure::{Failure, Kind, OrFail as _, words},
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

/// A way to the API: an address as seen from a node.
#[derive(Clone, Debug)]
pub struct From {
    /// Node at which the connection begins.
    pub node: NodeName,
    /// Address of an API server, or of the cluster's endpoint.
    pub host: IpAddr,
    /// Port.
    pub port: u16,
}

impl Reach<'_> {
    /// Tries each of the ways at once, for a few seconds. Returns those that lead to no API server that is ready, with the
    /// reason.
    ///
    /// # Errors
    /// The certificate for the API cannot be issued.
    pub fn try_each(&self, ways: &[From]) -> Result<Vec<(From, String)>, Failure> {
        let access = self.access()?;
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            let end = Instant::now() + READY;
            let tries = ways.iter().map(|way| async {
                let failed = self.server_at(way, &access, end).await.err();
                failed.map(|why| (way.clone(), why))
            });
            futures_util::future::join_all(tries).await.into_iter().flatten().collect()
        });
        runtime.shutdown_background();
        Ok(result)
    }

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
        let port = self.cluster.kube_master.as_ref().map_or(defaults::API_PORT, |endpoint| endpoint.port);
        let way = From { node: node.name.clone(), host: IpAddr::from([127, 0, 0, 1]), port };
        self.server_at(&way, access, end).await.map_err(|why| format!("{}: {why}", node.name))
    }

    async fn server_at(&self, way: &From, access: &Access, end: Instant) -> Result<Server, String> {
        let connector = Arc::clone(self.connector);
        let name = way.node.clone();
        let connected = tokio::task::spawn_blocking(move || connector.connect(&name)).await;
        let remote: Arc<dyn Remote> = match connected {
            Ok(Ok(remote)) => Arc::from(remote),
            Ok(Err(error)) => return Err(words(&way.node, &error)),
            Err(error) => return Err(error.to_string()),
        };
        let (host, port) = (way.host.to_string(), way.port);
        let dial: Dial = Arc::new(move || remote.tunnel(&host, port).map_err(io::Error::other)?.into_socket());
        let client = client(access, dial).map_err(|error| Failure::from_error(Kind::Failed, &error).in_one_line())?;
        let trial = Server::new(client.clone(), Instant::now() + READY);
        // A packet that is dropped on the way would be waited for without end.
        match tokio::time::timeout(READY * 2, trial.ready()).await {
            Ok(Ok(())) => Ok(Server::new(client, end)),
            Ok(Err(error)) => Err(Failure::from_error(Kind::Failed, &error).in_one_line()),
            Err(_) => Err(format!("no answer within {} s", (READY * 2).as_secs())),
        }
    }
}

/// Creates the runtime of the requests.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().failed()
}
