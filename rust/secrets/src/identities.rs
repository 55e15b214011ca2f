//! An operator's own secret keys: age identity files and OpenSSH private keys.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use age::{
    secrecy::{ExposeSecret, SecretString},
    ssh, x25519,
};
use thiserror::Error;
use zeroize::Zeroizing;

/// The identities of one or more files, at least one.
pub struct Identities {
    files: Vec<PathBuf>,
    keys: Vec<Key>,
}

enum Key {
    Age(x25519::Identity),
    Ssh(Box<ssh::Identity>),
}

/// Why identities could not be loaded.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// None of the files exists.
    #[error("no age identity found: looked for {}", list(.looked))]
    Missing {
        /// The files that were looked for.
        looked: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("cannot read the identity file {}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line is neither an age identity nor a comment.
    #[error("{}:{line}: neither `AGE-SECRET-KEY-1...` nor a comment", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file holds no identity at all.
    #[error("{} holds no identity", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The file is an SSH private key that age cannot use.
    #[error("age cannot use the SSH key {}: {why}", .file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// Why not.
        why: String,
    },
    /// The SSH key needs a passphrase, and none was given.
    #[error("{} is protected by a passphrase, and none was given", .file.display())]
    NoPassphrase {
        /// The file.
        file: PathBuf,
    },
    /// The passphrase is wrong.
    #[error("wrong passphrase for {}", .file.display())]
    WrongPassphrase {
        /// The file.
        file: PathBuf,
    },
    /// The identity file is itself encrypted.
    #[error("the identity file {} is itself encrypted", .file.display())]
    Encrypted {
        /// The file.
        file: PathBuf,
    },
}

impl IdentityError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(
                "set MACHINIST_IDENTITY to your age identity file or SSH private key; `age-keygen -o FILE` makes a new one, \
                 whose recipient must stand in `cluster.operators`"
                    .to_owned(),
            ),
            Self::Line { .. } | Self::Empty { .. } => {
                Some("name an age identity file or an OpenSSH private key".to_owned())
            }
            Self::Unsupported { .. } => {
                Some("use an ed25519 or RSA key in OpenSSH's format, or an age identity".to_owned())
            }
            Self::Encrypted { file } => {
                Some(format!("decrypt it for this session: `age -d -o PLAIN {}`", file.display()))
            }
            Self::Read { .. } | Self::NoPassphrase { .. } | Self::WrongPassphrase { .. } => None,
        }
    }
}

impl Identities {
    /// Loads all of the files. A protected SSH key asks `passphrase` for its file's; `None` gives up.
    ///
    /// # Errors
    /// A file cannot be read, holds no identity or one that age cannot use, or its passphrase is wrong.
    pub fn load(
        files: &[PathBuf],
        passphrase: &mut dyn FnMut(&Path) -> Option<Zeroizing<String>>,
    ) -> Result<Self, IdentityError> {
        let mut identities = Self { files: files.to_vec(), keys: Vec::new() };
        for file in files {
            let content = fs::read(file)
                .map(Zeroizing::new)
                .map_err(|source| IdentityError::Read { file: file.clone(), source })?;
            identities.keys.extend(parse(file, &content, passphrase)?);
        }
        if identities.keys.is_empty() { Err(IdentityError::Missing { looked: files.to_vec() }) } else { Ok(identities) }
    }

    /// Loads the first file of the order that exists (see [`IdentityPlaces`](crate::IdentityPlaces::search_order)).
    ///
    /// # Errors
    /// None exists, or the first that does cannot be loaded.
    pub fn find(
        order: &[PathBuf],
        passphrase: &mut dyn FnMut(&Path) -> Option<Zeroizing<String>>,
    ) -> Result<Self, IdentityError> {
        match order.iter().find(|file| file.exists()) {
            Some(file) => Self::load(std::slice::from_ref(file), passphrase),
            None => Err(IdentityError::Missing { looked: order.to_vec() }),
        }
    }

    /// Returns the files that the identities come from.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| match key {
            Key::Age(key) => key as &dyn age::Identity,
            Key::Ssh(key) => &**key as &dyn age::Identity,
        })
    }
}

/// The files, never the keys.
impl fmt::Display for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&list(&self.files))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identities").field("files", &self.files).finish_non_exhaustive()
    }
}

fn list(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    if names.is_empty() { "no file".to_owned() } else { names.join(", ") }
}

fn parse(
    file: &Path,
    content: &[u8],
    passphrase: &mut dyn FnMut(&Path) -> Option<Zeroizing<String>>,
) -> Result<Vec<Key>, IdentityError> {
    if content.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") || content.starts_with(b"age-encryption.org/") {
        return Err(IdentityError::Encrypted { file: file.to_owned() });
    }
    if content.trim_ascii_start().starts_with(b"-----BEGIN ") {
        let key = parse_ssh(file, content.trim_ascii_start(), passphrase)?;
        return Ok(vec![Key::Ssh(Box::new(key))]);
    }
    let keys: Vec<_> = parse_age(file, content)?.into_iter().map(Key::Age).collect();
    if keys.is_empty() { Err(IdentityError::Empty { file: file.to_owned() }) } else { Ok(keys) }
}

/// Lines of an age identity file. An error tells the line's number only: the line may be a mistyped secret.
fn parse_age(file: &Path, content: &[u8]) -> Result<Vec<x25519::Identity>, IdentityError> {
    let mut keys = Vec::new();
    for (index, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let key = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
        keys.push(key.ok_or_else(|| IdentityError::Line { file: file.to_owned(), line: index + 1 })?);
    }
    Ok(keys)
}

fn parse_ssh(
    file: &Path,
    content: &[u8],
    passphrase: &mut dyn FnMut(&Path) -> Option<Zeroizing<String>>,
) -> Result<ssh::Identity, IdentityError> {
    let unsupported = |why: String| IdentityError::Unsupported { file: file.to_owned(), why };
    let parsed = ssh::Identity::from_buffer(content, None)
        .map_err(|_| unsupported("it is no whole OpenSSH private key".to_owned()))?;
    match parsed {
        ssh::Identity::Unencrypted(_) => Ok(parsed),
        ssh::Identity::Encrypted(key) => {
            let words = passphrase(file).ok_or_else(|| IdentityError::NoPassphrase { file: file.to_owned() })?;
            let key = key
                .decrypt(SecretString::from(words.as_str()))
                .map_err(|_| IdentityError::WrongPassphrase { file: file.to_owned() })?;
            Ok(key.into())
        }
        ssh::Identity::Unsupported(kind) => Err(unsupported(explain(&kind))),
    }
}

fn explain(kind: &ssh::UnsupportedKey) -> String {
    match kind {
        ssh::UnsupportedKey::EncryptedPem => {
            "its passphrase is in the old PEM format; `ssh-keygen -o -p -f FILE` converts it".to_owned()
        }
        ssh::UnsupportedKey::EncryptedSsh(cipher) => format!("it is encrypted with `{cipher}`"),
        ssh::UnsupportedKey::Hardware(kind) => format!("`{kind}` lives on a hardware key"),
        ssh::UnsupportedKey::Type(kind) => format!("keys of type `{kind}` are not supported"),
    }
}

/// A new age identity.
pub struct GeneratedIdentity {
    secret: Zeroizing<String>,
    recipient: String,
}

impl GeneratedIdentity {
    /// Returns the text of an identity file: the recipient as a comment, then the secret key.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Returns the recipient, `age1...`.
    #[must_use]
    pub fn recipient(&self) -> &str {
        &self.recipient
    }
}

impl fmt::Debug for GeneratedIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("GeneratedIdentity").field(&self.recipient).finish()
    }
}

/// Generates an age identity.
#[must_use]
pub fn generate_identity() -> GeneratedIdentity {
    let identity = x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    // The layout of `age-keygen`, without its time of creation.
    let secret = Zeroizing::new(format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret()));
    GeneratedIdentity { secret, recipient }
}

/// Returns the recipient of an age identity file, `age1...`: of its first identity if it holds several.
///
/// # Errors
/// The file cannot be read, or is no age identity file (an SSH key has its public half in a `.pub` file).
pub fn recipient_of_file(file: &Path) -> Result<String, IdentityError> {
    let content =
        fs::read(file).map(Zeroizing::new).map_err(|source| IdentityError::Read { file: file.to_owned(), source })?;
    if content.trim_ascii_start().starts_with(b"-----BEGIN ") {
        let why = "its recipient is the public key in the `.pub` file beside it: write that as the operator's `ssh`";
        return Err(IdentityError::Unsupported { file: file.to_owned(), why: why.to_owned() });
    }
    let keys = parse_age(file, &content)?;
    let first = keys.first().ok_or_else(|| IdentityError::Empty { file: file.to_owned() })?;
    Ok(first.to_public().to_string())
}
