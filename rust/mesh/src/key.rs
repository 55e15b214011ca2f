//! Keys of the mesh in etcd.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Name;

/// Prefix of everything that a node reads.
pub const PREFIX: &str = "/cluster/";

/// Prefix of the instances. The node comes next: etcd's permissions are ranges of keys, so a node can only own keys
/// that start with its name.
pub const INSTANCES: &str = "/cluster/instances/";

/// Key of the data model's version.
pub const SCHEMA: &str = "/cluster/schema";

/// Returns the prefix of all keys that the node may write.
#[must_use]
pub fn node_instances(node: &str) -> String {
    format!("{INSTANCES}{node}/")
}

/// A group of applications. Nodes select the applications that they route by group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Applications that frontends use.
    Backends,
    /// Applications that ingress nodes expose.
    Frontends,
    /// Stateful applications, such as databases.
    Services,
}

impl Group {
    /// All groups, in alphabetical order.
    pub const ALL: [Self; 3] = [Self::Backends, Self::Frontends, Self::Services];

    /// Returns the group's segment of a key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backends => "backends",
            Self::Frontends => "frontends",
            Self::Services => "services",
        }
    }

    /// Returns the group with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == text)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A parsed key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Version of the data model.
    Schema,
    /// Record of a node.
    Node(Name),
    /// Settings for all instances of an application.
    Metadata {
        /// Group of the application.
        group: Group,
        /// Name of the application.
        app: Name,
    },
    /// An instance of an application.
    Instance(InstanceKey),
    /// Locations of a host name.
    Ingress {
        /// The host name, not validated yet.
        host: Box<str>,
    },
}

/// Key of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Group of the application.
    pub group: Group,
    /// Name of the application.
    pub app: Name,
    /// Node that it runs on.
    pub node: Name,
    /// The instance's name on its node. nix-infra has none: there, a node has at most one instance of an application.
    pub name: Option<Name>,
}

impl InstanceKey {
    /// Returns the name of the server in haproxy. It is unique among the instances of an application.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.name {
            // Names contain no colon, so the result is unique.
            Some(name) => format!("{}:{name}", self.node),
            None => self.node.to_string(),
        }
    }
}

impl Key {
    /// Parses a key. Returns `None` for other keys below the same prefix, such as another program's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('/');
        let mut next = || parts.next();
        let key = match next()? {
            "schema" => Self::Schema,
            "nodes" => Self::Node(Name::parse(next()?).ok()?),
            "ingress" => Self::Ingress { host: next().filter(|host| !host.is_empty())?.into() },
            "instances" => {
                let node = Name::parse(next()?).ok()?;
                let group = Group::parse(next()?)?;
                let app = Name::parse(next()?).ok()?;
                let name = Some(Name::parse(next()?).ok()?);
                Self::Instance(InstanceKey { group, app, node, name })
            }
            group => {
                let group = Group::parse(group)?;
                let app = Name::parse(next()?).ok()?;
                match next()? {
                    "meta_data" => Self::Metadata { group, app },
                    "instances" => {
                        Self::Instance(InstanceKey { group, app, node: Name::parse(next()?).ok()?, name: None })
                    }
                    _ => return None,
                }
            }
        };
        parts.next().is_none().then_some(key)
    }

    /// Returns `true` for a key that resembles one of the mesh, but is invalid.
    #[must_use]
    pub fn is_near(text: &str) -> bool {
        let first = text.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
        first.is_some_and(|first| Group::parse(first).is_some() || matches!(first, "nodes" | "instances" | "ingress"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema => formatter.write_str(SCHEMA),
            Self::Node(node) => write!(formatter, "{PREFIX}nodes/{node}"),
            Self::Metadata { group, app } => write!(formatter, "{PREFIX}{group}/{app}/meta_data"),
            Self::Ingress { host } => write!(formatter, "{PREFIX}ingress/{host}"),
            Self::Instance(InstanceKey { group, app, node, name: Some(name) }) => {
                write!(formatter, "{INSTANCES}{node}/{group}/{app}/{name}")
            }
            Self::Instance(InstanceKey { group, app, node, name: None }) => {
                write!(formatter, "{PREFIX}{group}/{app}/instances/{node}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Key;

    #[test]
    fn every_key_is_read_as_it_is_written() {
        for text in [
            "/cluster/schema",
            "/cluster/nodes/worker001",
            "/cluster/services/mongodb-pod/meta_data",
            "/cluster/services/mongodb-pod/instances/service001",
            "/cluster/instances/worker001/frontends/app-pod/web-2",
            "/cluster/ingress/www.example.org",
        ] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_keys_are_not_parsed() {
        for text in [
            "/cluster/nodes",
            "/cluster/nodes/",
            "/cluster/nodes/a/b",
            "/cluster/other/a/meta_data",
            "/cluster/services/a",
            "/cluster/services/a b/meta_data",
            "/cluster/services/a/instances/",
            "/cluster/instances/w/services/a",
            "/cluster/instances/w/services/a/b/c",
            "/cluster/ingress/",
            "cluster/nodes/a",
            "/coreos.com/network/config",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_invalid_key_is_distinguished_from_that_of_another_program() {
        assert!(Key::is_near("/cluster/services/a b/meta_data"));
        assert!(!Key::is_near("/cluster/locks/deploy"));
    }
}
