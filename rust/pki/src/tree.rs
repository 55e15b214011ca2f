//! Certificates' directory as values: a classified entry for each file.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use machinist_durable::TEMPORARY;
use machinist_model::NodeName;
use machinist_secrets::{CorruptError, Note};

use crate::{
    Certificate, CertificateError, KeyId,
    rotation::{RECORD, Rotation, Rotations},
    ssh::{CERTIFICATE, HostCertificate, SshPublicKey, certificate_file, files},
};

/// The files of a certificates' directory by relative path, sorted.
#[derive(Debug, Default)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

/// Classified content of a file.
#[derive(Debug)]
pub enum Entry {
    /// A certificate.
    Certificate(Box<Certificate>),
    /// An encrypted private key, with the id of its public key if the file names it.
    Key(Option<KeyId>),
    /// The trusted certificates while an authority is rotated: the signing one, then the other one.
    Bundle(Vec<Certificate>),
    /// The public half of a shared key pair. While it is rotated there are two, the signing one first.
    PublicKeys(Vec<KeyId>),
    /// The record of unfinished rotations.
    Rotations(Rotations),
    /// One half of an SSH host key.
    HostKey,
    /// The certificate of an SSH host key.
    HostCertificate(Box<HostCertificate>),
    /// The keys of the SSH authority, the signing one first, or the revoked host keys.
    SshKeys(Vec<SshPublicKey>),
    /// A temporary file, left by an interrupted run.
    Leftover,
    /// A foreign file. Left alone.
    Foreign,
    /// A file in one of machinist's places with the wrong content. Never overwritten.
    Corrupt(String),
    /// An unencrypted private key.
    Plaintext,
}

/// Expected content of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Authority,
    Certificate,
    Key,
    PublicKey,
    Rotations,
    HostKey,
    HostCertificate,
    SshKeys,
    Leftover,
    Directory,
    Other,
}

impl Place {
    fn of(path: &Path) -> Self {
        let parts: Option<Vec<&str>> = path
            .components()
            .map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        let Some(parts) = parts else { return Self::Other };
        let name = parts.last().copied().unwrap_or_default();
        // Left by an interrupted run.
        if name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1) {
            return Self::Leftover;
        }
        match parts.as_slice() {
            ["authorities" | "nodes" | "operators" | "shared"] => Self::Directory,
            ["nodes", node] if NodeName::parse(node).is_ok() => Self::Directory,
            [RECORD] => Self::Rotations,
            ["nodes", _, "ssh_host_ed25519_key.pub" | "ssh_host_ed25519_key.age"]
            | ["nodes", _, "first_boot_ed25519_key.pub" | "first_boot_ed25519_key.age"] => Self::HostKey,
            ["nodes", _, CERTIFICATE] => Self::HostCertificate,
            ["authorities", "ssh.pub" | "ssh-revoked.pub"] => Self::SshKeys,
            ["shared", name] => match *name {
                name if name.starts_with('.') => Self::Other,
                name if name.ends_with(".key.age") => Self::Key,
                name if name.ends_with(".pub") => Self::PublicKey,
                _ => Self::Other,
            },
            ["authorities" | "operators", name] | ["nodes", _, name] => match *name {
                name if name.starts_with('.') => Self::Other,
                name if name.ends_with(".key.age") => Self::Key,
                name if name.ends_with(".pem") && parts.first() == Some(&"authorities") => Self::Authority,
                name if name.ends_with(".pem") => Self::Certificate,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl Tree {
    /// Collects entries by path.
    pub fn from_entries(entries: impl IntoIterator<Item = (PathBuf, Entry)>) -> Self {
        Self { entries: entries.into_iter().collect() }
    }

    /// Returns all files, sorted by path.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// Returns the entry at the path.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Returns the certificate at the path; of several authorities, the signing one.
    #[must_use]
    pub fn certificate(&self, path: &Path) -> Option<&Certificate> {
        self.trusted(path).first()
    }

    /// Returns all certificates at the path, the signing one first. Empty if there is no file, or it has other content.
    #[must_use]
    pub fn trusted(&self, path: &Path) -> &[Certificate] {
        match self.get(path) {
            Some(Entry::Certificate(certificate)) => std::slice::from_ref(certificate),
            Some(Entry::Bundle(certificates)) => certificates,
            _ => &[],
        }
    }

    /// Returns the id of the public key at the path; of several, the signing one.
    #[must_use]
    pub fn public_key(&self, path: &Path) -> Option<&KeyId> {
        self.public_keys(path).first()
    }

    /// Returns the ids of all public keys at the path, the signing one first.
    #[must_use]
    pub fn public_keys(&self, path: &Path) -> &[KeyId] {
        match self.get(path) {
            Some(Entry::PublicKeys(ids)) => ids,
            _ => &[],
        }
    }

    /// Returns the record of the authority's or key pair's rotation, if it is unfinished.
    #[must_use]
    pub fn rotation(&self, name: &str) -> Option<&Rotation> {
        match self.get(Path::new(RECORD))? {
            Entry::Rotations(rotations) => rotations.of(name),
            _ => None,
        }
    }

    /// Returns the keys of the SSH authority, the signing one first. Empty without one.
    #[must_use]
    pub fn ssh_authority(&self) -> &[SshPublicKey] {
        self.ssh_keys(&files().certificate)
    }

    /// Returns the SSH public keys at the path.
    pub(crate) fn ssh_keys(&self, path: &Path) -> &[SshPublicKey] {
        match self.get(path) {
            Some(Entry::SshKeys(keys)) => keys,
            _ => &[],
        }
    }

    /// Returns the certificate of the node's SSH host key.
    #[must_use]
    pub fn host_certificate(&self, node: &NodeName) -> Option<&HostCertificate> {
        match self.get(&certificate_file(node))? {
            Entry::HostCertificate(certificate) => Some(certificate),
            _ => None,
        }
    }

    /// Returns the certificates of all SSH host keys, sorted by path.
    pub(crate) fn host_certificates(&self) -> impl Iterator<Item = (&Path, &HostCertificate)> {
        self.entries().filter_map(|(path, entry)| match entry {
            Entry::HostCertificate(certificate) => Some((path, &**certificate)),
            _ => None,
        })
    }

    /// Returns the encrypted key at the path: the id of its public half, if the file names it.
    #[must_use]
    pub fn key(&self, path: &Path) -> Option<Option<&KeyId>> {
        match self.get(path)? {
            Entry::Key(id) => Some(id.as_ref()),
            _ => None,
        }
    }
}

impl Entry {
    /// Classifies a regular file by its place and its content.
    #[must_use]
    pub fn classify(path: &Path, content: &[u8]) -> Self {
        let place = Place::of(path);
        if has_plaintext_key(content) {
            return Self::Plaintext;
        }
        match place {
            Place::Leftover => Self::Leftover,
            Place::HostKey => Self::HostKey,
            Place::Other => Self::Foreign,
            Place::Directory => Self::Corrupt("a file in the place of a directory".to_owned()),
            Place::Certificate => match Certificate::parse(content) {
                Ok(certificate) => Self::Certificate(Box::new(certificate)),
                Err(error) => Self::Corrupt(describe_certificate(&error)),
            },
            Place::Authority => match Certificate::parse_all(content).map(<[_; 1]>::try_from) {
                Ok(Ok([certificate])) => Self::Certificate(Box::new(certificate)),
                Ok(Err(several)) => Self::Bundle(several),
                Err(error) => Self::Corrupt(describe_certificate(&error)),
            },
            Place::HostCertificate => match HostCertificate::parse(content) {
                Ok(certificate) => Self::HostCertificate(Box::new(certificate)),
                Err(error) => Self::Corrupt(format!("not a host certificate: {error}")),
            },
            Place::SshKeys => match SshPublicKey::parse_all(content) {
                Some(keys) => Self::SshKeys(keys),
                None => Self::Corrupt("not ed25519 public keys in OpenSSH's format, one a line".to_owned()),
            },
            Place::PublicKey => match KeyId::of_public_pem(content) {
                Some(ids) => Self::PublicKeys(ids),
                None => Self::Corrupt("not a public key in PEM".to_owned()),
            },
            Place::Rotations => match Rotations::parse(content) {
                Ok(rotations) => Self::Rotations(rotations),
                Err(error) => Self::Corrupt(format!("not a record of rotations: {error}")),
            },
            Place::Key => match Note::read(content) {
                Ok(note) => Self::Key(note.about.as_deref().and_then(KeyId::parse)),
                Err(error) => Self::Corrupt(describe_key(&error)),
            },
        }
    }

    /// Classifies anything that is neither a regular file nor an expected directory.
    #[must_use]
    pub fn irregular(path: &Path, kind: &str) -> Self {
        match Place::of(path) {
            Place::Other | Place::Leftover => Self::Foreign,
            _ => Self::Corrupt(format!("it is {kind}")),
        }
    }

    /// Returns true if a directory at the path blocks a file of machinist.
    #[must_use]
    pub fn is_file_of_ours(path: &Path) -> bool {
        matches!(
            Place::of(path),
            Place::Authority
                | Place::Certificate
                | Place::Key
                | Place::PublicKey
                | Place::Rotations
                | Place::HostKey
                | Place::HostCertificate
                | Place::SshKeys
        )
    }
}

fn describe_certificate(error: &CertificateError) -> String {
    format!("not a certificate: {error}")
}

fn describe_key(error: &CorruptError) -> String {
    format!("not an encrypted private key: {error}")
}

/// Returns true if the content has a PEM label of a private key, of any kind (`RSA`, `EC`, `OPENSSH`, `ENCRYPTED` ...).
fn has_plaintext_key(content: &[u8]) -> bool {
    const LABEL: &[u8] = b"PRIVATE KEY-----";
    content.windows(LABEL.len()).any(|window| window == LABEL)
}
