//! An entry of the mesh: a key together with its value.

use thiserror::Error;

use crate::{Ingress, Instance, InstanceKey, Key, Metadata, NodeRecord, ValueError};

/// Content of a key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Version of the data model.
    Schema,
    /// Record of a node.
    Node(NodeRecord),
    /// Settings for all instances of an application.
    Metadata(Metadata),
    /// Record of an instance.
    Instance(Instance),
    /// Locations of a host name.
    Ingress(Ingress),
}

/// Error of a key or its value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The key resembles a key of the mesh, but is invalid.
    #[error("invalid key")]
    Key,
    /// The value is invalid.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The value names another node than the key.
    #[error("the key belongs to node {key}, the value to {value}")]
    Node {
        /// Node in the key.
        key: String,
        /// Node in the value.
        value: String,
    },
    /// The value exceeds the limit for its kind.
    #[error("the value has {bytes} bytes, the limit is {most}")]
    Long {
        /// Size of the value, in bytes.
        bytes: usize,
        /// Maximum size, in bytes.
        most: usize,
    },
    /// The host name is invalid.
    #[error("invalid host name")]
    Host,
}

impl Entry {
    /// Reads the value of a key.
    ///
    /// # Errors
    /// The key or the value is invalid, or they do not match.
    pub fn read(key: &Key, value: &[u8]) -> Result<Self, EntryError> {
        Ok(match key {
            Key::Schema => Self::Schema,
            Key::Node(name) => {
                let record = NodeRecord::read(value)?;
                same_node(name, &record.name)?;
                Self::Node(record)
            }
            Key::Metadata { .. } => Self::Metadata(Metadata::read(value)?),
            Key::Instance(InstanceKey { node, .. }) => {
                let instance = Instance::read(value)?;
                same_node(node, &instance.node)?;
                Self::Instance(instance)
            }
            Key::Ingress { host } => {
                let allowed =
                    |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
                if host.len() > 253 || !host.bytes().all(allowed) {
                    return Err(EntryError::Host);
                }
                Self::Ingress(Ingress::read(value)?)
            }
        })
    }
}

/// A node may only write below its own name, so its statements about other nodes are not trusted.
fn same_node(key: &str, value: &str) -> Result<(), EntryError> {
    if key == value { Ok(()) } else { Err(EntryError::Node { key: key.to_owned(), value: value.to_owned() }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Entry, Key};

    #[test]
    fn an_instance_belongs_to_the_node_of_its_key() {
        let key = Key::parse("/cluster/instances/w1/services/db/a").unwrap();
        let error = Entry::read(&key, br#"{"node":"w2","ipv4":"10.0.0.1","port":1}"#).unwrap_err();
        assert_eq!(error.to_string(), "the key belongs to node w1, the value to w2");
    }

    #[test]
    fn a_host_name_has_nothing_but_its_letters() {
        let key = Key::parse("/cluster/ingress/a.example\nfrontend x").unwrap();
        assert_eq!(Entry::read(&key, b"{}").unwrap_err().to_string(), "invalid host name");
    }
}
