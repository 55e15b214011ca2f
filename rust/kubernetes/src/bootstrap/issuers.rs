//! ACME issuers for cert-manager: staging, with untrusted certificates and high rate limits, and production. Each has
//! its own account key, since accounts are not shared between the servers.

use machinist_model::Acme;
use serde_json::json;

use crate::object::{Id, Object, Origin};

/// The API group of cert-manager.
pub const CERT_MANAGER_GROUP: &str = "cert-manager.io";
const VERSION: &str = "v1";

/// Name and directory of each server (letsencrypt.org, "Staging Environment").
const SERVERS: [(&str, &str); 2] = [
    ("letsencrypt-production", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];

/// Both issuers.
pub fn objects(acme: &Acme) -> Vec<Object> {
    SERVERS.map(|(name, server)| issuer(acme, name, server)).to_vec()
}

fn issuer(acme: &Acme, name: &str, server: &str) -> Object {
    let kind = "ClusterIssuer";
    let value = json!({
        "apiVersion": format!("{CERT_MANAGER_GROUP}/{VERSION}"),
        "kind": kind,
        "metadata": { "name": name },
        "spec": {
            "acme": {
                "email": acme.email,
                "server": server,
                "privateKeySecretRef": { "name": format!("{name}-account-key") },
                "solvers": [{ "http01": { "ingress": { "ingressClassName": acme.ingress_class } } }],
            },
        },
    });
    let id = Id { group: CERT_MANAGER_GROUP.into(), kind: kind.into(), namespace: None, name: name.into() };
    Object { id, version: VERSION.into(), value, origin: Origin::Generated }
}
