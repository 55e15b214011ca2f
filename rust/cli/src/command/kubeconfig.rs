//! `machinist kubeconfig`: access to the Kubernetes API for a person, for hours.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use machinist_model::{Cluster, Orchestrator, Role, defaults};
use machinist_operations::kubernetes;
use machinist_pki::user::{self, Credentials, User};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    args::Global,
    context,
    duration::life,
    failure::{Failure, Kind, OrFail as _, Outcome},
    output,
    ui::Ui,
};

/// The permissions of a kubeconfig: it holds a private key.
const PRIVATE: u32 = 0o600;
/// The user that has no name of its own, as kubeadm calls it.
const ADMIN: &str = "kubernetes-admin";
/// The group that may do everything, by the API server's own code.
const MASTERS: &str = "system:masters";

/// Writes a kubeconfig with a client certificate of its own.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// The user's name in Kubernetes [default: kubernetes-admin, in the group system:masters]
    #[arg(long, value_parser = subject)]
    user: Option<String>,

    /// The user's group in Kubernetes; without it a named user has no group
    #[arg(long, value_parser = subject)]
    group: Option<String>,

    /// How long it is valid, such as 30m, 8h or 7d; it cannot be revoked
    #[arg(long, value_name = "TIME", default_value = "8h", value_parser = life)]
    valid: Duration,

    /// The API server [default: kubeMaster, or the first control plane]
    #[arg(long, value_name = "URL", value_parser = server_url)]
    server: Option<String>,

    /// The file, mode 0600, replaced if it is there; - for stdout [default: .machinist/kubeconfig]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &KubeconfigArgs, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    if cluster.orchestrator != Some(Orchestrator::Kubernetes) {
        return Err(kubernetes::missing(&cluster, "no kubeconfig was made", |server| {
            format!(
                "an administrator's for a year, for 127.0.0.1: `ssh {server} cat /etc/rancher/k3s/k3s.yaml` (docs/guides/k3s.md)"
            )
        }));
    }
    let server = match &args.server {
        Some(server) => server.clone(),
        None => server(&cluster).ok_or_else(|| Failure::new(Kind::Input, "no machine is a control plane"))?,
    };
    let user = user_of(args);
    let identities = context.keyring.unlock()?;
    let now = context.clock.now();
    let credentials = user::credentials(&project.certs(), &user, now, &identities, &cluster.operators)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    let config = config(&cluster.name, &server, &user.name, &credentials);
    let text = format!("{config:#}\n");
    if args.output.as_deref() == Some(Path::new("-")) {
        ui.document(text.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.output.clone().unwrap_or_else(|| project.local().join("kubeconfig"));
    output::write(&file, text.as_bytes(), PRIVATE).failed()?;
    tell(&file, &server, &user, credentials.not_after, ui);
    Ok(ExitCode::SUCCESS)
}

fn user_of(args: &KubeconfigArgs) -> User {
    // Naming a user is asking for that user, not for an administrator of that name.
    let group = match (&args.user, &args.group) {
        (_, Some(group)) => Some(group.clone()),
        (None, None) => Some(MASTERS.to_owned()),
        (Some(_), None) => None,
    };
    User { name: args.user.clone().unwrap_or_else(|| ADMIN.to_owned()), group, life: args.valid }
}

fn tell(file: &Path, server: &str, user: &User, not_after: OffsetDateTime, ui: Ui) {
    if ui.json {
        ui.result_json(&json!({
            "file": file,
            "server": server,
            "user": user.name,
            "group": user.group,
            "notAfter": not_after.format(&time::format_description::well_known::Rfc3339).unwrap_or_default(),
        }));
        return;
    }
    let group = user.group.as_ref().map_or_else(|| "no group".to_owned(), |group| format!("group {group}"));
    let (time, date) = (not_after.time(), not_after.date());
    let end = format!("{date} {:02}:{:02} UTC", time.hour(), time.minute());
    ui.result(&format!("wrote {}: {} ({group}) at {server}, valid until {end}", file.display(), user.name));
    ui.story(&format!("use it with `kubectl --kubeconfig {} get --raw /readyz`", file.display()));
}

/// Where a person reaches the API. The endpoint's name is taken if it is one of DNS: a bare one is only in the nodes' own
/// /etc/hosts.
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

/// A kubeconfig, in JSON: every reader of YAML takes it.
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

/// A name of a certificate's subject (RFC 5280, appendix A: at most 64 characters).
fn subject(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().count() > 64 || text.chars().any(char::is_control) {
        return Err("a name has 1 to 64 characters, none of them a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn server_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").unwrap_or_default();
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("write it as https://HOST:PORT".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{server, server_url, subject};
    use machinist_model::fixtures;

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

    #[test]
    fn what_cannot_be_a_subject_or_a_server_is_refused() {
        assert!(subject("jane").is_ok());
        for text in ["", "a\nb", &"x".repeat(65)] {
            assert!(subject(text).is_err(), "{text}");
        }
        assert!(server_url("https://10.0.0.1:6443").is_ok());
        for text in ["", "10.0.0.1:6443", "http://10.0.0.1", "https://", "https://a b"] {
            assert!(server_url(text).is_err(), "{text}");
        }
    }
}
