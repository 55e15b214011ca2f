//! Address of a host and settings for its login.

use crate::known_hosts::host_pattern;
use crate::ssh_config::SshConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Connection settings of a node. `None` values come from the operator's SSH configuration, then from the defaults.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The node's name in machines.nix, for messages and hints.
    pub node: String,
    /// The host's name or address. The host key is pinned under this name, whatever `HostName` an
    /// operator's own ssh_config maps it to, because the pins are shared by all operators.
    pub host: String,
    /// The TCP port; 22 by default.
    pub port: Option<u16>,
    /// The user to log in as; root by default.
    pub user: Option<String>,
    /// Private keys to try first, before the agent: a server counts attempts (sshd: 6), and an agent with
    /// many keys would use them up.
    pub identity_files: Vec<PathBuf>,
    /// Private keys to try last; missing files are skipped.
    pub fallback_identity_files: Vec<PathBuf>,
    /// The socket of an ssh-agent.
    pub agent_socket: Option<PathBuf>,
    /// A network namespace, such as `/run/netns/NAME`, in which the TCP connection is opened.
    pub namespace: Option<PathBuf>,
    /// True if commands that need root run under `sudo -n` when the user is not root.
    pub become_root: bool,
    /// OpenSSH's configuration, which is applied to `host`. Not used with a namespace: a sandbox's addresses may belong
    /// to other machines elsewhere.
    pub ssh_config: Option<Arc<SshConfig>>,
    /// Timeout of resolving and connecting, and of each step of the handshake and login; otherwise the SSH
    /// configuration's value, otherwise 10 seconds.
    pub connect_timeout: Option<Duration>,
    /// Interval of keepalives if the SSH configuration sets none; a busy connection without any data for four intervals
    /// is lost.
    pub keepalive: Duration,
}

impl Destination {
    /// Returns a destination that uses nothing from the user's environment: no agent, no ssh_config, and only the keys
    /// added by the caller.
    pub fn new(node: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            host: host.into(),
            port: None,
            user: None,
            identity_files: Vec::new(),
            fallback_identity_files: Vec::new(),
            agent_socket: None,
            namespace: None,
            become_root: true,
            ssh_config: None,
            connect_timeout: None,
            keepalive: Duration::from_secs(5),
        }
    }

    /// Adds the settings that `ssh` itself would use: its configuration, the agent of `$SSH_AUTH_SOCK`, and the usual
    /// keys `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa`, which the configuration replaces.
    #[must_use]
    pub fn with_environment(mut self, config: &Arc<SshConfig>) -> Self {
        self.ssh_config = Some(config.clone());
        self.agent_socket = std::env::var_os("SSH_AUTH_SOCK").filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(directory) = std::env::home_dir().map(|home| home.join(".ssh")) {
            self.fallback_identity_files =
                ["id_ed25519", "id_ecdsa", "id_rsa"].iter().map(|name| directory.join(name)).collect();
        }
        self
    }

    /// Returns the name under which the host's key is pinned in known_hosts.
    pub fn host_pattern(&self) -> String {
        host_pattern(&self.host, self.port.unwrap_or(22))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_pinned_under_the_port_of_machines_nix() {
        let mut destination = Destination::new("a", "10.0.0.2");
        assert_eq!(destination.host_pattern(), "10.0.0.2");
        destination.port = Some(2222);
        assert_eq!(destination.host_pattern(), "[10.0.0.2]:2222");
    }
}
