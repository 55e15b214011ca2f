//! SSH host keys that are made before a machine is: its key can be pinned before the first connection.
//!
//! They lie beside the node's certificates. Making one is the only thing done with them here; a host key that exists is
//! never replaced.

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

/// Why a host key cannot be had.
#[derive(Debug, Error)]
pub enum HostKeyError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key pair cannot be made.
    #[error("cannot make the SSH host key of {node}")]
    Generate {
        /// The node.
        node: NodeName,
        /// Why not.
        source: SshKeyError,
    },
    /// The private half cannot be encrypted.
    #[error("cannot encrypt the SSH host key of {node}")]
    Encrypt {
        /// The node.
        node: NodeName,
        /// Why not.
        source: EncryptError,
    },
    /// The private half cannot be decrypted.
    #[error("cannot open the SSH host key of {node}")]
    Decrypt {
        /// The node.
        node: NodeName,
        /// Why not.
        source: DecryptError,
    },
    /// The private half is damaged.
    #[error("{} is no encrypted SSH host key", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: CorruptError,
    },
    /// The public half is there, but not the private one.
    #[error("{} is missing, but its public half is there", .file.display())]
    Lost {
        /// The missing file.
        file: PathBuf,
    },
    /// The public half is no line of an SSH public key.
    #[error("{} holds no SSH public key", .file.display())]
    NoPublicKey {
        /// The file.
        file: PathBuf,
    },
}

impl HostKeyError {
    /// What to do about it.
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

fn files(node: &NodeName) -> (PathBuf, PathBuf) {
    let directory = PathBuf::from(format!("nodes/{node}"));
    (directory.join("ssh_host_ed25519_key.age"), directory.join("ssh_host_ed25519_key.pub"))
}

/// Returns the node's public host key, `ssh-ed25519 AAAA... comment`, if it has one.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn public(certs: &Path, node: &NodeName) -> Result<Option<String>, HostKeyError> {
    let file = certs.join(files(node).1);
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

/// Returns the node's public host key, which is made with its private half if there is none. A private half alone is what a
/// run leaves that was cut off: nobody knows its public half, so both are made again.
///
/// # Errors
/// The private half is lost or damaged, or something cannot be written.
pub fn ensure(certs: &Path, node: &NodeName, recipients: &Recipients) -> Result<String, HostKeyError> {
    let (key, public_file) = files(node);
    let _lock = store::wait_for_lock(certs)?;
    if let Some(line) = public(certs, node)? {
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
    identities: &Identities,
    operators: &[Operator],
) -> Result<Option<Zeroizing<Vec<u8>>>, HostKeyError> {
    let file = certs.join(files(node).0);
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Read { path: file, source }.into()),
    };
    decrypt(identities, &file, &content, operators)
        .map(Some)
        .map_err(|source| HostKeyError::Decrypt { node: node.clone(), source })
}
