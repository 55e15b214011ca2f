//! Endpoint of a session, as messages name it.

use std::fmt;

/// The endpoint of a session, for messages: prints as `user@host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node's name in machines.nix.
    pub node: String,
    /// The user to log in as.
    pub user: String,
    /// The name or address that the connection is opened to.
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
