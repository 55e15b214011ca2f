//! Node with its SSH host key.

use std::collections::BTreeSet;

use machinist_model::NodeName;

use super::SshPublicKey;

/// A node with its SSH host key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The node.
    pub node: NodeName,
    /// Its host key. `None` while it is unknown: nothing is signed then.
    pub key: Option<SshPublicKey>,
    /// The names and addresses that its certificate is valid for.
    pub names: BTreeSet<String>,
}

impl Host {
    /// Returns the certificate's name in commands and messages, such as `ssh-host-casper`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("ssh-host-{}", self.node)
    }
}
