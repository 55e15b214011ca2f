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
mod host;
mod known_hosts;
mod names;
mod plan;
mod public_key;
mod rotate;
mod rotation;
mod update;

pub use certificate::{HostCertificate, HostCertificateError};
pub use host::Host;
pub use known_hosts::{Verified, revoked, verified};
pub use names::{CERTIFICATE, NAME, certificate_file};
pub(crate) use names::{REVOKED, files, is_authority_key, next_key};
pub use plan::{plan, rows};
pub use public_key::SshPublicKey;
pub use rotate::apply;
pub use rotation::{behind, notice, position};
pub use update::update;
