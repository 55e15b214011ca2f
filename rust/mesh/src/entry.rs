//! A key and its value together.

use thiserror::Error;

use crate::{Ingress, Instance, InstanceKey, Key, Metadata, NodeRecord, ValueError};

/// What a key and its value say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The version of the data model.
    Schema,
    /// A node.
    Node(NodeRecord),
    /// What holds for all instances of an application.
    Metadata(Metadata),
    /// An instance.
    Instance(Instance),
    /// What a host name leads to.
    Ingress(Ingress),
}

/// Why a key and its value say nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The key is nearly one of the mesh.
    #[error("the key is none of the mesh")]
    Key,
    /// The value cannot be used.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The value says that it belongs to another node than the key.
    #[error("the key is of the node {key}, the value of {value}")]
    Node {
        /// The key's.
        key: String,
        /// The value's.
        value: String,
    },
    /// The value is longer than any of its kind.
    #[error("the value has {bytes} bytes, it may have {most}")]
    Long {
        /// Its length.
        bytes: usize,
        /// Longest that is read.
        most: usize,
    },
    /// A host name that is none.
    #[error("it is no host name")]
    Host,
}

impl Entry {
    /// Reads the value of a key.
    ///
    /// # Errors
    /// The value cannot be used, or does not belong to the key.
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

/// A node may write below its own name only, so what it says there about another one is worth nothing.
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
        assert_eq!(error.to_string(), "the key is of the node w1, the value of w2");
    }

    #[test]
    fn a_host_name_has_nothing_but_its_letters() {
        let key = Key::parse("/cluster/ingress/a.example\nfrontend x").unwrap();
        assert_eq!(Entry::read(&key, b"{}").unwrap_err().to_string(), "it is no host name");
    }
}
