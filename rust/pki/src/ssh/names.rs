//! Names and files of the SSH authority and its certificates.

use std::path::{Path, PathBuf};

use machinist_model::NodeName;

use crate::{Authority, Files};

/// The authority's name in commands and messages.
pub const NAME: &str = "ssh-ca";

/// File name of a node's certificate: in certs/nodes/<node>, and on the node in /etc/machinist/pki.
pub const CERTIFICATE: &str = "ssh_host_ed25519_key-cert.pub";

/// File of the revoked host keys, relative to the certificates' directory.
pub(crate) const REVOKED: &str = "authorities/ssh-revoked.pub";

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
