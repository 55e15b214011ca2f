//! Logging in with public keys: key files and ssh-agent. Passwords are never asked for.

use crate::destination::{Destination, Endpoint};
use crate::error::RemoteError;
use crate::ssh_config::Resolved;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh2::Session;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One key that was tried, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthAttempt {
    /// The key file's path, or the agent and its key's comment.
    pub key: String,
    /// What came of it.
    pub outcome: AuthOutcome,
}

/// What came of trying a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthOutcome {
    /// The server does not accept the key, or broke off; with the SSH library's words.
    Refused(String),
    /// The key file is encrypted: ssh-agent has to hold it.
    Encrypted,
    /// The key file, or the agent, cannot be used; with the reason.
    Unusable(String),
}

impl fmt::Display for AuthAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            AuthOutcome::Refused(reason) => write!(f, "{} (refused: {reason})", self.key),
            AuthOutcome::Encrypted => write!(f, "{} (encrypted, and not in ssh-agent)", self.key),
            AuthOutcome::Unusable(reason) => write!(f, "{} (not usable: {reason})", self.key),
        }
    }
}

/// Tries the explicit key files, the agent, the ssh_config's key files and the usual ones, in this order.
pub(crate) fn log_in(
    session: &Session,
    destination: &Destination,
    resolved: &Resolved,
    at: &Arc<Endpoint>,
) -> Result<(), RemoteError> {
    let mut login = Login { session, user: &resolved.user, attempts: Vec::new(), tried: BTreeSet::new() };
    let explicit = destination.identity_files.iter();
    // A usual key that does not exist is not worth a word; a missing one that somebody named is.
    let fallback = destination.fallback_identity_files.iter().filter(|path| path.exists());
    let logged_in = explicit.into_iter().any(|path| login.with_file(path))
        || destination.agent_socket.as_deref().is_some_and(|socket| login.with_agent(socket))
        || resolved.identity_files.iter().chain(fallback).any(|path| login.with_file(path));
    if logged_in { Ok(()) } else { Err(RemoteError::Auth { at: at.clone(), attempts: login.attempts }) }
}

struct Login<'a> {
    session: &'a Session,
    user: &'a str,
    attempts: Vec<AuthAttempt>,
    tried: BTreeSet<PathBuf>,
}

impl Login<'_> {
    fn with_file(&mut self, path: &Path) -> bool {
        if !self.tried.insert(path.to_owned()) {
            return false;
        }
        let outcome = match std::fs::read(path) {
            Err(error) => AuthOutcome::Unusable(error.to_string()),
            Ok(key) if is_encrypted(&key) => AuthOutcome::Encrypted,
            Ok(_) => match self.session.userauth_pubkey_file(self.user, None, path, None) {
                Ok(()) => return true,
                Err(error) => AuthOutcome::Refused(error.message().to_owned()),
            },
        };
        self.attempts.push(AuthAttempt { key: path.display().to_string(), outcome });
        false
    }

    fn with_agent(&mut self, socket: &Path) -> bool {
        match self.try_agent(socket) {
            Ok(logged_in) => logged_in,
            Err(error) => {
                let outcome = AuthOutcome::Unusable(error.message().to_owned());
                self.attempts.push(AuthAttempt { key: format!("ssh-agent at {}", socket.display()), outcome });
                false
            }
        }
    }

    fn try_agent(&mut self, socket: &Path) -> Result<bool, ssh2::Error> {
        let mut agent = self.session.agent()?;
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        for identity in agent.identities()? {
            match agent.userauth(self.user, &identity) {
                Ok(()) => return Ok(true),
                Err(error) => {
                    let outcome = AuthOutcome::Refused(error.message().to_owned());
                    self.attempts.push(AuthAttempt { key: format!("ssh-agent's key {}", identity.comment()), outcome });
                }
            }
        }
        Ok(false)
    }
}

/// Tells whether a private key file needs a passphrase: in OpenSSH's own format (PROTOCOL.key: the cipher's
/// name follows the magic), or in PEM and PKCS #8.
fn is_encrypted(file: &[u8]) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    const UNENCRYPTED: &[u8] = b"\0\0\0\x04none";
    let text = String::from_utf8_lossy(file);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return true;
    }
    let Some((_, body)) = text.split_once("-----BEGIN OPENSSH PRIVATE KEY-----") else {
        return false;
    };
    let body: String = body.split("-----").next().unwrap_or_default().split_whitespace().collect();
    let decoded = STANDARD.decode(body).unwrap_or_default();
    decoded.strip_prefix(MAGIC).is_some_and(|rest| !rest.starts_with(UNENCRYPTED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use std::process::Command;

    #[track_caller]
    fn check(arguments: &[&str], passphrase: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let mut ssh_keygen = Command::new("ssh-keygen");
        ssh_keygen.args(["-q", "-N", passphrase, "-f"]).arg(&path).args(arguments);
        assert!(ssh_keygen.status().unwrap().success());
        assert_eq!(
            is_encrypted(&std::fs::read(&path).unwrap()),
            !passphrase.is_empty(),
            "{arguments:?} {passphrase:?}"
        );
    }

    #[test]
    fn encrypted_keys_of_all_formats_are_recognised() {
        for format in [&["-t", "ed25519"][..], &["-t", "ecdsa", "-m", "PEM"], &["-t", "ecdsa", "-m", "PKCS8"]] {
            check(format, "a passphrase");
            check(format, "");
        }
    }
}
