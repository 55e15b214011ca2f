//! Login with public keys: key files, their certificates, and ssh-agent. Passwords are never requested.

use crate::auth_attempt::{AuthAttempt, AuthOutcome};
use crate::endpoint::Endpoint;
use crate::error::RemoteError;
use crate::identity::{self, KeyFile, KeyKind, PublicKey};
use crate::resolved::{Keys, Resolved};
use ssh2::Session;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tries the explicit key files, the agent's keys, and the configured or usual files, in OpenSSH's order: configured
/// keys of the agent come before its others, because a server counts attempts.
pub(crate) fn log_in(
    session: &Session,
    explicit: &[PathBuf],
    resolved: &Resolved,
    at: &Arc<Endpoint>,
) -> Result<(), RemoteError> {
    let keys = &resolved.keys;
    let explicit: Vec<Identity> = explicit.iter().filter_map(|path| Identity::read(path, true)).collect();
    let configured: Vec<Identity> =
        keys.files.iter().filter_map(|(path, named)| Identity::read(path, *named)).collect();
    let mut login = Login::new(session, &resolved.user, keys);
    let known = || explicit.iter().chain(&configured);
    let logged_in = explicit.iter().any(|identity| login.with_file(identity))
        || keys.agent.as_deref().is_some_and(|socket| login.with_agent(socket, &known().collect::<Vec<_>>()))
        || configured.iter().any(|identity| login.with_file(identity));
    if logged_in { Ok(()) } else { Err(RemoteError::Auth { at: at.clone(), attempts: login.attempts }) }
}

/// A named key file with its unencrypted metadata.
struct Identity {
    path: PathBuf,
    file: Result<KeyFile, String>,
    certificates: Vec<(PathBuf, PublicKey)>,
}

impl Identity {
    /// Returns `None` for a missing file whose name is a default.
    fn read(path: &Path, named: bool) -> Option<Self> {
        let file = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !named => return None,
            Err(error) => Err(error.to_string()),
            Ok(text) => Ok(identity::parse(&text)),
        };
        let beside = |suffix: &str| public_key(&with_suffix(path, suffix));
        let file = file.map(|file| KeyFile { public: file.public.or_else(|| beside(".pub")), ..file });
        let certificate = with_suffix(path, "-cert.pub");
        let certificates = public_key(&certificate).map(|key| (certificate, key)).into_iter().collect();
        Some(Self { path: path.to_owned(), file, certificates })
    }

    fn public(&self) -> Option<&PublicKey> {
        self.file.as_ref().ok()?.public.as_ref()
    }

    /// Returns the reason why the file itself cannot log in, if there is one.
    fn obstacle(&self) -> Option<AuthOutcome> {
        match &self.file {
            Err(reason) => Some(AuthOutcome::Unusable(reason.clone())),
            Ok(file) if file.public.as_ref().is_some_and(PublicKey::is_hardware) => Some(AuthOutcome::Hardware),
            Ok(file) => match file.kind {
                KeyKind::Private => None,
                KeyKind::Encrypted => Some(AuthOutcome::Encrypted),
                KeyKind::Public => {
                    Some(AuthOutcome::Unusable("a public key whose private key is not in ssh-agent".to_owned()))
                }
            },
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn public_key(path: &Path) -> Option<PublicKey> {
    PublicKey::parse(&std::fs::read_to_string(path).ok()?)
}

struct Login<'a> {
    session: &'a Session,
    user: &'a str,
    keys: &'a Keys,
    certificates: Vec<(PathBuf, PublicKey)>,
    attempts: Vec<AuthAttempt>,
    tried: BTreeSet<PathBuf>,
    offered: BTreeSet<PublicKey>,
}

impl<'a> Login<'a> {
    fn new(session: &'a Session, user: &'a str, keys: &'a Keys) -> Self {
        let mut attempts: Vec<AuthAttempt> = Vec::new();
        let mut certificates = Vec::new();
        for (setting, reason) in &keys.not_followed {
            attempts.push(unusable(setting.clone(), (*reason).to_owned()));
        }
        for path in &keys.certificates {
            match public_key(path) {
                Some(key) => certificates.push((path.clone(), key)),
                None => attempts.push(unusable(path.display().to_string(), "not a readable certificate".to_owned())),
            }
        }
        Self { session, user, keys, certificates, attempts, tried: BTreeSet::new(), offered: BTreeSet::new() }
    }

    fn with_file(&mut self, identity: &Identity) -> bool {
        let is_offered = identity.public().is_some_and(|key| self.offered.contains(key));
        if is_offered || !self.tried.insert(identity.path.clone()) {
            return false;
        }
        let key = identity.path.display().to_string();
        if let Some(outcome) = identity.obstacle() {
            self.attempts.push(AuthAttempt { key, outcome });
            return false;
        }
        self.offered.extend(identity.public().cloned());
        let certificates: Vec<PathBuf> = self.certificates_of(identity).collect();
        certificates.iter().map(|path| Some(path.as_path())).chain([None]).any(|certificate| {
            match self.session.userauth_pubkey_file(self.user, certificate, &identity.path, None) {
                Ok(()) => true,
                Err(error) => {
                    let key = certificate.unwrap_or(&identity.path).display().to_string();
                    self.attempts.push(refused(key, &error));
                    false
                }
            }
        })
    }

    fn certificates_of<'b>(&'b self, identity: &'b Identity) -> impl Iterator<Item = PathBuf> + 'b {
        let all = self.certificates.iter().chain(&identity.certificates);
        let of_this = all.filter(|(_, key)| identity.public().is_some_and(|public| key.stands_for(public)));
        of_this.map(|(path, _)| path.clone())
    }

    fn with_agent(&mut self, socket: &Path, known: &[&Identity]) -> bool {
        match self.try_agent(socket, known) {
            Ok(logged_in) => logged_in,
            Err(error) => {
                self.attempts.push(unusable(format!("ssh-agent at {}", socket.display()), error.message().to_owned()));
                false
            }
        }
    }

    fn try_agent(&mut self, socket: &Path, known: &[&Identity]) -> Result<bool, ssh2::Error> {
        let mut agent = self.session.agent()?;
        agent.set_identity_path(socket)?;
        agent.connect()?;
        agent.list_identities()?;
        let position = |key: &PublicKey| {
            let is_it = |identity: &&Identity| identity.public().is_some_and(|public| key.stands_for(public));
            known.iter().position(is_it).unwrap_or(known.len())
        };
        let mut held: Vec<_> = agent
            .identities()?
            .into_iter()
            .map(|identity| {
                let key = PublicKey::from_blob(identity.blob());
                (position(&key), key, identity)
            })
            .filter(|(position, ..)| !self.keys.only_these || *position < known.len())
            .collect();
        // Stable, so the agent's own order stays within each group.
        held.sort_by_key(|(position, ..)| *position);
        for (_, key, identity) in held {
            let name = format!("ssh-agent's key {}", identity.comment());
            if key.is_hardware() {
                self.attempts.push(AuthAttempt { key: name, outcome: AuthOutcome::Hardware });
                continue;
            }
            if key.is_rsa_certificate() {
                // libssh2 has the agent sign with SHA-1, which sshd refuses.
                let reason = "RSA certificates in ssh-agent are not supported; in a file beside the key they are";
                self.attempts.push(unusable(name, reason.to_owned()));
                continue;
            }
            if !self.offered.insert(key) {
                continue;
            }
            match agent.userauth(self.user, &identity) {
                Ok(()) => return Ok(true),
                Err(error) => self.attempts.push(refused(name, &error)),
            }
        }
        Ok(false)
    }
}

fn refused(key: String, error: &ssh2::Error) -> AuthAttempt {
    AuthAttempt { key, outcome: AuthOutcome::Refused(error.message().to_owned()) }
}

fn unusable(key: String, reason: String) -> AuthAttempt {
    AuthAttempt { key, outcome: AuthOutcome::Unusable(reason) }
}
