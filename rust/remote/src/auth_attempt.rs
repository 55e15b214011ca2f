//! Key tried at a login, and the outcome.

use std::fmt;

/// A key that was tried, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthAttempt {
    /// The key file's path, or the agent and its key's comment.
    pub key: String,
    /// The outcome.
    pub outcome: AuthOutcome,
}

/// The outcome of trying a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthOutcome {
    /// The server does not accept the key, or closed the connection; with the SSH library's message.
    Refused(String),
    /// The key file is encrypted: ssh-agent must hold it.
    Encrypted,
    /// The key file, or the agent, is unusable; with the reason.
    Unusable(String),
    /// The private key is in a hardware token (FIDO, `sk-`), whose signatures the SSH library cannot make.
    Hardware,
}

impl fmt::Display for AuthAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            AuthOutcome::Refused(reason) => write!(f, "{} (refused: {reason})", self.key),
            AuthOutcome::Encrypted => write!(f, "{} (encrypted, and not in ssh-agent)", self.key),
            AuthOutcome::Unusable(reason) => write!(f, "{} (not usable: {reason})", self.key),
            AuthOutcome::Hardware => write!(f, "{} (a hardware key, sk-: not supported)", self.key),
        }
    }
}
