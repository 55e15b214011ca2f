//! Destination with all optional settings filled in: from machines.nix, then OpenSSH's configuration, then the
//! defaults.

use crate::destination::Destination;
use crate::endpoint::Endpoint;
use crate::error::RemoteError;
use crate::ssh_config::{Answer, Query, SshConfig, SshConfigError, expand, expand_proxy_command};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Default timeout for connecting. OpenSSH leaves it to the kernel, about two minutes, which is too long for a fleet
/// with a machine that is switched off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Default user.
const DEFAULT_USER: &str = "root";

/// The key files that OpenSSH tries by default. A missing one of these is not reported.
const USUAL_KEYS: [&str; 7] = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"];

/// Bounds of the silence after which a busy connection is lost. Longer ones would delay a deploy whose host is gone.
const SILENCE: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(60)];

/// Endpoint of a connection and its settings.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub network: Network,
    pub keys: Keys,
    pub alive: Alive,
}

/// Network settings of a connection.
#[derive(Debug)]
pub(crate) struct Network {
    pub connect_timeout: Duration,
    pub family: Family,
    /// The local address to connect from, or a name of it.
    pub bind: Option<String>,
    pub via: Option<Via>,
}

/// The IP versions that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// A program that carries the bytes.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// `ssh -W` through these hosts, separated by commas.
    Jump { hosts: String, config: Arc<SshConfig> },
    /// A ProxyCommand with its tokens expanded.
    Command(String),
}

/// Keys for the login.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Files in their order; true if a missing one is reported.
    pub files: Vec<(PathBuf, bool)>,
    pub certificates: Vec<PathBuf>,
    pub agent: Option<PathBuf>,
    /// True if the agent's other keys are not offered.
    pub only_these: bool,
    /// Settings for more keys that are not supported here: setting and reason.
    pub not_followed: Vec<(String, &'static str)>,
}

/// Detection of a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    /// Interval of the keepalives.
    pub interval: Duration,
    /// Silence after which a busy connection is lost.
    pub limit: Duration,
}

impl Destination {
    /// Returns the endpoint of a session, without a connection.
    ///
    /// # Errors
    /// The SSH configuration cannot be applied to the host.
    pub fn endpoint(&self) -> Result<Endpoint, RemoteError> {
        Ok(resolve(self)?.endpoint(&self.node))
    }
}

/// Fills in the settings that `destination` leaves open.
///
/// # Errors
/// OpenSSH rejects its configuration, or one of its settings is not supported.
pub(crate) fn resolve(destination: &Destination) -> Result<Resolved, RemoteError> {
    from_configuration(destination).map_err(|source| RemoteError::SshConfig { node: destination.node.clone(), source })
}

fn from_configuration(destination: &Destination) -> Result<Resolved, SshConfigError> {
    // A sandbox's addresses may belong to other machines elsewhere.
    let config = destination.ssh_config.as_ref().filter(|_| destination.namespace.is_none());
    match config.map(|config| Ok((config, look_up(config, destination)?))).transpose()? {
        Some((config, Some(answer))) => configured(destination, config, &answer),
        Some((_, None)) | None => Ok(unconfigured(destination)),
    }
}

fn look_up(config: &SshConfig, destination: &Destination) -> Result<Option<Arc<Answer>>, SshConfigError> {
    let mut query = Query { host: destination.host.clone(), port: destination.port, user: destination.user.clone() };
    let Some(answer) = config.look_up(&query)? else { return Ok(None) };
    let [here, ..] = &answer.context.here;
    if destination.user.is_some() || answer.context.user != *here || here == DEFAULT_USER {
        return Ok(Some(answer));
    }
    // OpenSSH's own default is the name of this process' user; ours is another, which `Match user` and %r must see.
    query.user = Some(DEFAULT_USER.to_owned());
    config.look_up(&query)
}

fn unconfigured(destination: &Destination) -> Resolved {
    let usual = destination.fallback_identity_files.iter().map(|path| (path.clone(), false));
    Resolved {
        host: destination.host.clone(),
        port: destination.port.unwrap_or(22),
        user: destination.user.clone().unwrap_or_else(|| DEFAULT_USER.to_owned()),
        network: Network {
            connect_timeout: destination.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            family: Family::Any,
            bind: None,
            via: None,
        },
        keys: Keys { files: usual.collect(), agent: destination.agent_socket.clone(), ..Keys::default() },
        alive: alive(destination.keepalive, None, 0),
    }
}

fn configured(destination: &Destination, config: &Arc<SshConfig>, answer: &Answer) -> Result<Resolved, SshConfigError> {
    let port = answer.required("port")?;
    let interval = answer.number("serveraliveinterval")?.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let count = answer.number("serveralivecountmax")?.unwrap_or(3);
    Ok(Resolved {
        host: answer.context.host.clone(),
        port: port.parse().map_err(|_| answer.invalid("port", format!("{port} is not a port")))?,
        user: answer.context.user.clone(),
        network: network(destination, config, answer)?,
        keys: keys(destination, answer)?,
        alive: alive(destination.keepalive, interval, u32::try_from(count).unwrap_or(u32::MAX)),
    })
}

fn network(destination: &Destination, config: &Arc<SshConfig>, answer: &Answer) -> Result<Network, SshConfigError> {
    if let Some(interface) = answer.value("bindinterface") {
        return Err(answer.unsupported("BindInterface", interface, "use BindAddress instead"));
    }
    let timeout = answer.number("connecttimeout")?.filter(|seconds| *seconds > 0).map(Duration::from_secs);
    Ok(Network {
        connect_timeout: destination.connect_timeout.or(timeout).unwrap_or(CONNECT_TIMEOUT),
        family: match answer.value("addressfamily") {
            Some("inet") => Family::V4,
            Some("inet6") => Family::V6,
            _ => Family::Any,
        },
        bind: answer.value("bindaddress").map(str::to_owned),
        via: via(config, answer)?,
    })
}

fn via(config: &Arc<SshConfig>, answer: &Answer) -> Result<Option<Via>, SshConfigError> {
    if let Some(hosts) = answer.value("proxyjump") {
        return Ok(Some(Via::Jump { hosts: hosts.to_owned(), config: config.clone() }));
    }
    let Some(command) = answer.value("proxycommand") else { return Ok(None) };
    if answer.has("proxyusefdpass", "yes") {
        let remedy = "use a ProxyCommand that carries the bytes itself, and ProxyUseFdpass no";
        return Err(answer.unsupported("ProxyUseFdpass", "yes", remedy));
    }
    let command = expand_proxy_command(command, &answer.context);
    command.map(Via::Command).map(Some).map_err(|reason| answer.invalid("ProxyCommand", reason))
}

fn keys(destination: &Destination, answer: &Answer) -> Result<Keys, SshConfigError> {
    if answer.has("pubkeyauthentication", "no") || answer.has("pubkeyauthentication", "false") {
        let not_followed = vec![("PubkeyAuthentication no".to_owned(), "machinist logs in only with public keys")];
        return Ok(Keys { not_followed, ..Keys::default() });
    }
    let variable = |name: &str| std::env::var(name).ok();
    let paths = |name: &'static str, setting: &'static str| {
        let named = answer.values(setting).filter(|value| *value != "none");
        let expand = |value| expand(value, &answer.context, &variable).map(PathBuf::from);
        named.map(|value| expand(value).map_err(|reason| answer.invalid(name, reason))).collect::<Result<Vec<_>, _>>()
    };
    let files = paths("IdentityFile", "identityfile")?;
    let usual = PathBuf::from(&answer.context.home).join(".ssh");
    let is_usual = |path: &PathBuf| USUAL_KEYS.iter().any(|name| usual.join(name) == *path);
    let pkcs11 = answer.value("pkcs11provider").map(|library| {
        (
            format!("PKCS11Provider {library}"),
            "machinist loads only keys, but ssh-agent loads libraries: ssh-add -s LIBRARY",
        )
    });
    Ok(Keys {
        files: files.into_iter().map(|path| (path.clone(), !is_usual(&path))).collect(),
        certificates: paths("CertificateFile", "certificatefile")?,
        agent: agent(destination, answer, &variable),
        only_these: answer.has("identitiesonly", "yes"),
        not_followed: pkcs11.into_iter().collect(),
    })
}

fn agent(destination: &Destination, answer: &Answer, variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let socket = match answer.values("identityagent").next() {
        None | Some("SSH_AUTH_SOCK") => return destination.agent_socket.clone(),
        Some("none") => return None,
        Some(value) => value,
    };
    // Tokens are already expanded; a variable must be the complete value.
    match socket.strip_prefix('$') {
        Some(name) => variable(name.trim_matches(['{', '}'])).filter(|value| !value.is_empty()).map(PathBuf::from),
        None => Some(PathBuf::from(socket)),
    }
}

/// Returns OpenSSH's settings if set, within our bounds; otherwise four of our own intervals.
fn alive(own: Duration, interval: Option<Duration>, count: u32) -> Alive {
    let Some(interval) = interval else { return Alive { interval: own, limit: own * 4 } };
    let [shortest, longest] = SILENCE;
    let limit = interval.saturating_mul(count).clamp(shortest, longest);
    Alive { interval: interval.min(limit / 4), limit }
}

impl Resolved {
    /// Returns the endpoint of the node's session.
    pub fn endpoint(&self, node: &str) -> Endpoint {
        Endpoint { node: node.to_owned(), user: self.user.clone(), host: self.host.clone(), port: self.port }
    }
}

impl Via {
    /// Returns the program as named in an SSH configuration, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Jump { hosts, .. } => format!("ProxyJump {hosts}"),
            Self::Command(command) => format!("ProxyCommand {command}"),
        }
    }
}

#[cfg(test)]
#[path = "resolved_tests.rs"]
mod tests;
