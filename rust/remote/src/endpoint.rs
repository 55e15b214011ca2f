//! The place that a session leads to, as messages name it.

use std::fmt;

/// Where a session leads, for messages: prints as `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node's name in machines.nix.
    pub node: String,
    /// The user that logs in.
    pub user: String,
    /// The host's name or address that is connected to.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}@[{}]:{}", self.user, self.host, self.port)
        } else {
            write!(f, "{}@{}:{}", self.user, self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_bracketed_in_messages() {
        let endpoint = |host: &str| Endpoint { node: "a".into(), user: "root".into(), host: host.into(), port: 22 };
        assert_eq!(endpoint("fd00::1").to_string(), "root@[fd00::1]:22");
        assert_eq!(endpoint("10.0.0.2").to_string(), "root@10.0.0.2:22");
    }
}
