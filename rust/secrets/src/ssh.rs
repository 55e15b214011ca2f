//! SSH host keys.

use std::fmt;

use rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use thiserror::Error;
use zeroize::Zeroizing;

/// A new ed25519 key pair in OpenSSH's own formats.
pub struct SshKeyPair {
    private: Zeroizing<String>,
    public: String,
}

/// Reason why a key pair could not be generated.
#[derive(Debug, Error)]
#[error("cannot generate an SSH key pair")]
pub struct SshKeyError(#[source] ssh_key::Error);

impl SshKeyPair {
    /// Generates a key pair with the comment, such as the node's name.
    ///
    /// # Errors
    /// The system's random source fails.
    pub fn generate(comment: &str) -> Result<Self, SshKeyError> {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(SshKeyError)?;
        key.set_comment(comment);
        Ok(Self {
            private: key.to_openssh(LineEnding::LF).map_err(SshKeyError)?,
            public: key.public_key().to_openssh().map_err(SshKeyError)?,
        })
    }

    /// Returns the private key, the text of an `ssh_host_ed25519_key` file.
    #[must_use]
    pub fn private(&self) -> &str {
        &self.private
    }

    /// Returns the public key, one line without its end: `ssh-ed25519 AAAA... comment`.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Debug for SshKeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SshKeyPair").field(&self.public).finish()
    }
}
