//! SSH host authority: signs the host keys of the cluster's nodes, so that an operator's own `ssh` verifies a node by
//! one line instead of one pinned key a node.
//!
//! Its files are beside those of the X.509 authorities:
//!
//! ```text
//! authorities/ssh.pub  ssh.key.age          the trusted keys, the signing one first; its private half
//! authorities/ssh-revoked.pub               host keys that were replaced, and whose certificates may still be valid
//! nodes/<node>/ssh_host_ed25519_key-cert.pub
//! ```
//!
//! A certificate is for a host key that exists: renewing it makes no new key. The connections of machinist itself verify
//! pinned keys, and never a certificate.

mod certificate;
mod known_hosts;
mod plan;
mod public_key;
mod rotation;
mod update;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use machinist_model::NodeName;

pub use certificate::{HostCertificate, HostCertificateError};
pub use known_hosts::{Verified, revoked, verified};
pub use plan::{plan, rows};
pub use public_key::SshPublicKey;
pub use rotation::{apply, behind, notice, position};
pub use update::update;

use crate::{Authority, Entry, Files, Tree};

/// The authority's name in commands and messages.
pub const NAME: &str = "ssh-ca";

/// File name of a node's certificate: in certs/nodes/<node>, and on the node in /etc/machinist/pki.
pub const CERTIFICATE: &str = "ssh_host_ed25519_key-cert.pub";

/// File of the revoked host keys, relative to the certificates' directory.
const REVOKED: &str = "authorities/ssh-revoked.pub";

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

/// Returns the path of the node's certificate, relative to the certificates' directory.
#[must_use]
pub fn certificate_file(node: &NodeName) -> PathBuf {
    PathBuf::from(format!("nodes/{node}/{CERTIFICATE}"))
}

/// Returns the files of the authority.
pub(crate) fn files() -> Files {
    Files { certificate: PathBuf::from("authorities/ssh.pub"), ..Files::authority(Authority::Ssh) }
}

/// Returns the file of the key that signs after the next stage of a rotation.
pub(crate) fn next_key() -> PathBuf {
    PathBuf::from("authorities/ssh.next.key.age")
}

/// Returns true for the private keys of the authority.
pub(crate) fn is_authority_key(path: &Path) -> bool {
    path == files().key || path == next_key()
}

impl Tree {
    /// Returns the keys of the SSH authority, the signing one first. Empty without one.
    #[must_use]
    pub fn ssh_authority(&self) -> &[SshPublicKey] {
        self.ssh_keys(&files().certificate)
    }

    /// Returns the certificate of the node's host key.
    #[must_use]
    pub fn host_certificate(&self, node: &NodeName) -> Option<&HostCertificate> {
        match self.get(&certificate_file(node))? {
            Entry::HostCertificate(certificate) => Some(certificate),
            _ => None,
        }
    }

    fn ssh_keys(&self, path: &Path) -> &[SshPublicKey] {
        match self.get(path) {
            Some(Entry::SshKeys(keys)) => keys,
            _ => &[],
        }
    }

    /// Returns all host certificates with their nodes' names, sorted.
    fn host_certificates(&self) -> impl Iterator<Item = (&Path, &HostCertificate)> {
        self.entries().filter_map(|(path, entry)| match entry {
            Entry::HostCertificate(certificate) => Some((path, &**certificate)),
            _ => None,
        })
    }
}
