//! What a person's ssh_config says about a host, as far as it applies here.

use crate::destination::Destination;
use ssh2_config::{ParseRule, SshConfig, SshParserError};
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

/// How long connecting may take when nothing says otherwise. OpenSSH waits for the kernel, about two
/// minutes, which is too long for a fleet with a machine that is switched off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An ssh_config cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum SshConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not an ssh_config.
    #[error("cannot understand {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: SshParserError,
    },
    /// The host is behind jump hosts.
    #[error("{} sets ProxyJump {jumps} for {host}, which is not supported", path.display())]
    ProxyJump {
        /// The file.
        path: PathBuf,
        /// The host that was looked up.
        host: String,
        /// The jump hosts, separated by commas.
        jumps: String,
    },
}

impl SshConfigError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ProxyJump { jumps, .. } if !jumps.contains(',') => {
                Some(format!("use `ProxyCommand ssh -W [%h]:%p {jumps}` in its place"))
            }
            Self::ProxyJump { .. } => Some("use a ProxyCommand in its place".to_owned()),
            Self::Parse { path, .. } => {
                Some(format!("see what OpenSSH says about it: ssh -G -F {} HOST", path.display()))
            }
            Self::Read { .. } => None,
        }
    }
}

/// A destination with all questions answered.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// From the ssh_config, tried after the agent.
    pub identity_files: Vec<PathBuf>,
    pub connect_timeout: Duration,
    pub proxy_command: Option<String>,
}

/// Answers what `destination` leaves open from its ssh_config, then from the defaults.
pub(crate) fn resolve(destination: &Destination) -> Result<Resolved, SshConfigError> {
    let mut resolved = Resolved {
        host: destination.host.clone(),
        port: destination.port.unwrap_or(22),
        user: destination.user.clone().unwrap_or_else(|| "root".to_owned()),
        identity_files: Vec::new(),
        connect_timeout: destination.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        proxy_command: None,
    };
    let Some(path) = destination.ssh_config.as_ref().filter(|_| destination.namespace.is_none()) else {
        return Ok(resolved);
    };
    let file = std::fs::File::open(path).map_err(|source| SshConfigError::Read { path: path.clone(), source })?;
    // Fields that only concern interactive use are no reason to refuse a file that OpenSSH accepts.
    let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    let config = SshConfig::default()
        .parse(&mut BufReader::new(file), rules)
        .map_err(|source| SshConfigError::Parse { path: path.clone(), source })?;
    let mut host = config.query(&destination.host);
    host.proxy_jump = host.proxy_jump.filter(|jumps| jumps != &["none"]);
    if let Some(jumps) = host.proxy_jump {
        let jumps = jumps.join(",");
        return Err(SshConfigError::ProxyJump { path: path.clone(), host: destination.host.clone(), jumps });
    }
    if let Some(name) = host.host_name {
        resolved.host = expand(&name, &destination.host, resolved.port, &resolved.user);
    }
    resolved.port = destination.port.or(host.port).unwrap_or(resolved.port);
    resolved.user = destination.user.clone().or(host.user).unwrap_or(resolved.user);
    resolved.identity_files = host.identity_file.unwrap_or_default();
    resolved.connect_timeout = destination.connect_timeout.or(host.connect_timeout).unwrap_or(CONNECT_TIMEOUT);
    resolved.proxy_command = host
        .unsupported_fields
        .iter()
        .find(|(field, _)| field.eq_ignore_ascii_case("ProxyCommand"))
        .map(|(_, arguments)| arguments.join(" "))
        .filter(|command| command != "none")
        .map(|command| expand(&command, &resolved.host, resolved.port, &resolved.user));
    Ok(resolved)
}

/// Expands the tokens `%h`, `%p`, `%r` and `%%` (ssh_config(5), TOKENS); others stay as they are.
fn expand(text: &str, host: &str, port: u16, user: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        match after.chars().next() {
            Some('h') => expanded.push_str(host),
            Some('p') => expanded.push_str(&port.to_string()),
            Some('r') => expanded.push_str(user),
            Some('%') => expanded.push('%'),
            _ => {
                expanded.push('%');
                rest = after;
                continue;
            }
        }
        rest = &after[1..];
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn resolve_with(config: &str, edit: impl FnOnce(&mut Destination)) -> Result<Resolved, SshConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, config).unwrap();
        let mut destination = Destination::new("casper", "10.0.0.4");
        destination.ssh_config = Some(path);
        edit(&mut destination);
        resolve(&destination)
    }

    const CONFIG: &str = "\
Host 10.0.0.*
  HostName %h.example
  Port 2200
  User admin
  IdentityFile /keys/a
  IdentityFile /keys/b
  ConnectTimeout 3
  StrictHostKeyChecking no
  ProxyCommand nc -X 5 %h %p
Host *
  User nobody
";

    #[test]
    fn an_open_value_comes_from_the_first_matching_block() {
        let resolved = resolve_with(CONFIG, |_| ()).unwrap();
        assert_eq!(
            (resolved.host.as_str(), resolved.port, resolved.user.as_str()),
            ("10.0.0.4.example", 2200, "admin")
        );
        assert_eq!(resolved.identity_files, [PathBuf::from("/keys/a"), PathBuf::from("/keys/b")]);
        assert_eq!(resolved.connect_timeout, Duration::from_secs(3));
        assert_eq!(resolved.proxy_command.as_deref(), Some("nc -X 5 10.0.0.4.example 2200"));
    }

    #[test]
    fn machines_nix_wins_over_ssh_config() {
        let resolved = resolve_with(CONFIG, |destination| {
            destination.port = Some(22);
            destination.user = Some("root".into());
        });
        let resolved = resolved.unwrap();
        assert_eq!((resolved.port, resolved.user.as_str()), (22, "root"));
    }

    #[test]
    fn a_namespace_keeps_ssh_config_out() {
        let resolved = resolve_with(CONFIG, |destination| destination.namespace = Some("/run/netns/x".into())).unwrap();
        assert_eq!((resolved.host.as_str(), resolved.port, resolved.user.as_str()), ("10.0.0.4", 22, "root"));
    }

    #[test]
    fn proxy_jump_is_refused_with_the_command_that_does_the_same() {
        let error = resolve_with("Host *\n ProxyJump gate.example\n", |_| ()).unwrap_err();
        assert!(error.to_string().contains("ProxyJump gate.example for 10.0.0.4"), "{error}");
        assert_eq!(error.hint().unwrap(), "use `ProxyCommand ssh -W [%h]:%p gate.example` in its place");
    }

    #[test]
    fn a_file_that_is_no_ssh_config_is_named() {
        let error = resolve_with("Host *\n Port many\n", |_| ()).unwrap_err();
        assert!(matches!(error, SshConfigError::Parse { .. }), "{error}");
    }

    #[test]
    fn unknown_tokens_stay() {
        assert_eq!(expand("%% %h:%p %r %d %", "h", 1, "u"), "% h:1 u %d %");
    }
}
