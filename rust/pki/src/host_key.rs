//! SSH host keys created before their machine, so that the key can be pinned before the first connection.
//!
//! The keys are stored beside the node's certificates. This module only creates them; an existing host key is never
//! replaced.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use machinist_model::{NodeName, Operator};
use machinist_secrets::{
    CorruptError, DecryptError, EncryptError, Identities, Note, Recipients, SshKeyError, SshKeyPair, Zeroizing,
    decrypt, encrypt,
};
use thiserror::Error;

use crate::store::{self, Pair, StoreError};

/// Reason why a host key is not available.
#[allow(
    missing_docs,
    reason = "`node` is the key's owner, `file` a path inside the certificates' directory, `source` the cause"
)]
#[derive(Debug, Error)]
pub enum HostKeyError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key pair cannot be generated.
    #[error("cannot generate the SSH host key of {node}")]
    Generate { node: NodeName, source: SshKeyError },
    /// The private half cannot be encrypted.
    #[error("cannot encrypt the SSH host key of {node}")]
    Encrypt { node: NodeName, source: EncryptError },
    /// The private half cannot be decrypted.
    #[error("cannot decrypt the SSH host key of {node}")]
    Decrypt { node: NodeName, source: DecryptError },
    /// The private half is malformed.
    #[error("{} is not an encrypted SSH host key", .file.display())]
    Corrupt { file: PathBuf, source: CorruptError },
    /// The public half exists, but the private one is missing.
    #[error("{} is missing, but its public half exists", .file.display())]
    Lost { file: PathBuf },
    /// The public half is not a line with an SSH public key.
    #[error("{} does not contain an SSH public key", .file.display())]
    NoPublicKey { file: PathBuf },
}

impl HostKeyError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Decrypt { source, .. } => source.hint(),
            Self::Corrupt { .. } | Self::Lost { .. } | Self::NoPublicKey { .. } => {
                Some("restore both files of the host key from the same commit".to_owned())
            }
            _ => None,
        }
    }
}

/// System of a machine that a host key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// NixOS, from its installation on.
    Installed,
    /// The image of a provider that a server boots first. Whatever runs on the server can read the private half from the
    /// provider's metadata, so it is another key than the installed system's.
    FirstBoot,
}

impl System {
    const fn stem(self) -> &'static str {
        match self {
            Self::Installed => "ssh_host_ed25519_key",
            Self::FirstBoot => "first_boot_ed25519_key",
        }
    }
}

fn files(node: &NodeName, system: System) -> (PathBuf, PathBuf) {
    let directory = PathBuf::from(format!("nodes/{node}"));
    let stem = system.stem();
    (directory.join(format!("{stem}.age")), directory.join(format!("{stem}.pub")))
}

/// Returns the node's public host key, `ssh-ed25519 AAAA... comment`, if it has one.
///
/// # Errors
/// The file cannot be read, or has other content.
pub fn public(certs: &Path, node: &NodeName, system: System) -> Result<Option<String>, HostKeyError> {
    let file = certs.join(files(node, system).1);
    match fs::read_to_string(&file) {
        Ok(text) if text.starts_with("ssh-ed25519 ") && text.trim_end().lines().count() == 1 => {
            Ok(Some(text.trim_end().to_owned()))
        }
        Ok(_) => Err(HostKeyError::NoPublicKey { file }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(HostKeyError::NoPublicKey { file }),
        Err(source) => Err(StoreError::Read { path: file, source }.into()),
    }
}

/// Returns the node's public host key; if it is missing, generates a key pair. A lone private half is left by an
/// interrupted run: its public half was never used, so both are generated again.
///
/// # Errors
/// The private half is lost or damaged, or something cannot be written.
pub fn ensure(certs: &Path, node: &NodeName, system: System, recipients: &Recipients) -> Result<String, HostKeyError> {
    let (key, public_file) = files(node, system);
    let _lock = store::wait_for_lock(certs)?;
    if let Some(line) = public(certs, node, system)? {
        let file = certs.join(key);
        let content = match fs::read(&file) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(HostKeyError::Lost { file }),
            Err(source) => return Err(StoreError::Read { path: file, source }.into()),
        };
        return match Note::read(&content) {
            Ok(_) => Ok(line),
            Err(source) => Err(HostKeyError::Corrupt { file, source }),
        };
    }
    let pair =
        SshKeyPair::generate(node.as_str()).map_err(|source| HostKeyError::Generate { node: node.clone(), source })?;
    let encrypted = encrypt(recipients, pair.private().as_bytes())
        .map_err(|source| HostKeyError::Encrypt { node: node.clone(), source })?;
    let text = format!("{}\n", pair.public());
    store::write(certs, &[Pair { key, encrypted, public: public_file, text }])?;
    Ok(pair.public().to_owned())
}

/// Decrypts the node's private host key, in OpenSSH's format. `None` if the node has no host key.
///
/// # Errors
/// The file cannot be read or decrypted.
pub fn open(
    certs: &Path,
    node: &NodeName,
    system: System,
    identities: &Identities,
    operators: &[Operator],
) -> Result<Option<Zeroizing<Vec<u8>>>, HostKeyError> {
    let file = certs.join(files(node, system).0);
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Read { path: file, source }.into()),
    };
    decrypt(identities, &file, &content, operators)
        .map(Some)
        .map_err(|source| HostKeyError::Decrypt { node: node.clone(), source })
}

/// Removes the key of a server that was deleted, so that the next one gets its own.
///
/// # Errors
/// A file cannot be removed.
pub fn remove_first_boot(certs: &Path, node: &NodeName) -> Result<(), HostKeyError> {
    remove(certs, node, System::FirstBoot)
}

/// Removes the key of a machine that is gone, so that the next one gets its own. The public half goes first: a lone
/// private one is replaced.
///
/// # Errors
/// A file cannot be removed.
pub fn remove(certs: &Path, node: &NodeName, system: System) -> Result<(), HostKeyError> {
    let (key, public) = files(node, system);
    for file in [public, key].map(|file| certs.join(file)) {
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::Write { path: file, source }.into());
            }
            _ => {}
        }
    }
    Ok(())
}
