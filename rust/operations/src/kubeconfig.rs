//! Kubeconfig: time-limited access to the Kubernetes API for one person.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use machinist_model::{Cluster, Orchestrator, Role, defaults};
use machinist_pki::user::{self, Credentials, User};
use machinist_secrets::Zeroizing;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    context::Context,
    failure::{Failure, Kind},
    kubernetes,
};

/// Default user name, the same as kubeadm's.
const ADMIN: &str = "kubernetes-admin";
/// Group with every permission, hard-coded in the API server.
const MASTERS: &str = "system:masters";

/// Request for a kubeconfig: its user and its validity.
#[derive(Clone, Debug)]
pub struct Request {
    /// The user's name in Kubernetes; an administrator if there is neither a name nor a group.
    pub user: Option<String>,
    /// The user's group in Kubernetes.
    pub group: Option<String>,
    /// Validity of the certificate. It cannot be revoked.
    pub valid: Duration,
    /// URL of the API server; the cluster's own by default.
    pub server: Option<String>,
}

/// A kubeconfig with a client certificate.
pub struct Kubeconfig {
    /// Content of the file, with a private key in it.
    pub text: Zeroizing<String>,
    /// URL of the API server.
    pub server: String,
    /// The user's name.
    pub user: String,
    /// The user's group.
    pub group: Option<String>,
    /// Expiry of the certificate.
    pub not_after: OffsetDateTime,
}

/// Issues a client certificate and returns it as a kubeconfig.
///
/// # Errors
/// The cluster does not run Kubernetes, or its authority's private key cannot be decrypted.
pub fn run(context: &Context, request: &Request) -> Result<Kubeconfig, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    if cluster.orchestrator != Some(Orchestrator::Kubernetes) {
        return Err(kubernetes::missing(&cluster, "no kubeconfig was made", |server| {
            format!(
                "an administrator's for a year, for 127.0.0.1: `ssh {server} cat /etc/rancher/k3s/k3s.yaml` (docs/guides/k3s.md)"
            )
        }));
    }
    let server = match &request.server {
        Some(server) => server.clone(),
        None => server(&cluster).ok_or_else(|| Failure::new(Kind::Input, "no machine is a control plane"))?,
    };
    let user = user_of(request);
    let identities = context.keyring.unlock()?;
    let credentials = user::credentials(&project.certs(), &user, context.clock.now(), &identities, &cluster.operators)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    let config = config(&cluster.name, &server, &user.name, &credentials);
    let text = Zeroizing::new(format!("{config:#}\n"));
    Ok(Kubeconfig { text, server, user: user.name, group: user.group, not_after: credentials.not_after })
}

fn user_of(request: &Request) -> User {
    // `--user` alone requests that user without a group, not an administrator of that name.
    let group = match (&request.user, &request.group) {
        (_, Some(group)) => Some(group.clone()),
        (None, None) => Some(MASTERS.to_owned()),
        (Some(_), None) => None,
    };
    User { name: request.user.clone().unwrap_or_else(|| ADMIN.to_owned()), group, life: request.valid }
}

/// Returns the API server's URL for a client outside the cluster. The endpoint's name is used only if DNS can resolve
/// it: a bare name is only in the nodes' own /etc/hosts.
fn server(cluster: &Cluster) -> Option<String> {
    let (host, port) = match &cluster.kube_master {
        Some(endpoint) if endpoint.name.contains('.') => (endpoint.name.clone(), endpoint.port),
        Some(endpoint) => (bracketed(endpoint.ip), endpoint.port),
        None => (bracketed(cluster.with_role(Role::ControlPlane).next()?.ip), defaults::API_PORT),
    };
    Some(format!("https://{host}:{port}"))
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// Renders a kubeconfig as JSON, which every YAML reader accepts.
fn config(cluster: &str, server: &str, user: &str, credentials: &Credentials) -> Value {
    let encode = |text: &str| STANDARD.encode(text);
    let context = format!("{user}@{cluster}");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": cluster,
            "cluster": { "server": server, "certificate-authority-data": encode(&credentials.authority) },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": encode(&credentials.certificate),
                "client-key-data": encode(&credentials.key),
            },
        }],
        "contexts": [{ "name": context, "context": { "cluster": cluster, "user": user } }],
        "current-context": context,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::fixtures;

    use super::server;

    #[test]
    fn people_reach_the_api_where_they_can_resolve_it() {
        let mut cluster = fixtures::ha_kubernetes();
        assert_eq!(server(&cluster).unwrap(), "https://10.13.100.1:6443", "a bare name is only in /etc/hosts of nodes");
        let endpoint = cluster.kube_master.as_mut().unwrap();
        endpoint.name = "kube.example.org".to_owned();
        endpoint.port = 443;
        assert_eq!(server(&cluster).unwrap(), "https://kube.example.org:443");
        let endpoint = cluster.kube_master.as_mut().unwrap();
        (endpoint.name, endpoint.ip) = ("kubernetes".to_owned(), "fd13::100".parse().unwrap());
        assert_eq!(server(&cluster).unwrap(), "https://[fd13::100]:443");
        cluster.kube_master = None;
        assert_eq!(server(&cluster).unwrap(), "https://10.13.13.2:6443", "the first control plane");
    }
}
