//! Secret keys of an operator: age identity files and OpenSSH private keys.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use age::{
    plugin::{self, IdentityPluginV1},
    secrecy::{ExposeSecret, SecretString},
    ssh, x25519,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    identity_file::IdentityFile,
    prompt::{Callbacks, Prompt},
};

/// The identities of one or more files, at least one.
pub struct Identities {
    files: Vec<PathBuf>,
    /// Plugins come last: they may require a touch.
    keys: Vec<Key>,
    /// Keys of the files that are not usable here, each with the reason.
    unusable: Vec<String>,
}

enum Key {
    Age(x25519::Identity),
    Ssh(Box<ssh::Identity>),
    Plugin(Box<IdentityPluginV1<Callbacks>>),
}

/// Reason why identities could not be loaded.
#[allow(
    missing_docs,
    reason = "`file`, `files` and `looked` are paths, `line` is a number from 1, `why` a message, `source` the cause"
)]
#[derive(Debug, Error)]
pub enum IdentityError {
    /// None of the files exists.
    #[error("no age identity found: looked for {}", list(.looked))]
    Missing { looked: Vec<PathBuf> },
    /// A file cannot be read.
    #[error("cannot read the identity file {}", .file.display())]
    Read { file: PathBuf, source: io::Error },
    /// A line is neither an age identity nor a comment.
    #[error("{}:{line}: neither `AGE-SECRET-KEY-1...`, `AGE-PLUGIN-...` nor a comment", .file.display())]
    Line { file: PathBuf, line: usize },
    /// The file has no identity.
    #[error("{} contains no identity", .file.display())]
    Empty { file: PathBuf },
    /// No key of the files is usable on this computer; `why` has a reason per key.
    #[error("no key of {} is usable: {}", list(.files), .why.join(", "))]
    Unusable { files: Vec<PathBuf>, why: Vec<String> },
    /// The file is an SSH private key that age cannot use.
    #[error("age cannot use the SSH key {}: {why}", .file.display())]
    Unsupported { file: PathBuf, why: String },
    /// The SSH key needs a passphrase, but none was given.
    #[error("{} is protected by a passphrase, but none was given", .file.display())]
    NoPassphrase { file: PathBuf },
    /// The passphrase is wrong.
    #[error("wrong passphrase for {}", .file.display())]
    WrongPassphrase { file: PathBuf },
    /// The identity file is itself encrypted.
    #[error("the identity file {} is itself encrypted", .file.display())]
    Encrypted { file: PathBuf },
}

impl IdentityError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(
                "set MACHINIST_IDENTITY to your age identity file or SSH private key; `age-keygen -o FILE` \
                 creates one, whose recipient must be in `cluster.operators`"
                    .to_owned(),
            ),
            Self::Line { .. } | Self::Empty { .. } => {
                Some("specify an age identity file or an OpenSSH private key".to_owned())
            }
            Self::Unsupported { .. } => {
                Some("use an ed25519 or RSA key in OpenSSH's format, or an age identity".to_owned())
            }
            Self::Encrypted { file } => {
                Some(format!("decrypt it for this session: `age -d -o PLAIN {}`", file.display()))
            }
            Self::Unusable { .. } => Some("install the plugin, or set MACHINIST_IDENTITY to another file".to_owned()),
            Self::Read { .. } | Self::NoPassphrase { .. } | Self::WrongPassphrase { .. } => None,
        }
    }
}

impl Identities {
    /// Loads all of the files. A key whose plugin is not installed, or of an unknown type, leaves the others usable.
    ///
    /// # Errors
    /// A file cannot be read, contains no usable identity, or its passphrase is wrong.
    pub fn load(files: &[PathBuf], prompt: &Arc<dyn Prompt>) -> Result<Self, IdentityError> {
        let mut identities = Self { files: files.to_vec(), keys: Vec::new(), unusable: Vec::new() };
        for file in files {
            let content = fs::read(file)
                .map(Zeroizing::new)
                .map_err(|source| IdentityError::Read { file: file.clone(), source })?;
            identities.add(file, &content, prompt)?;
        }
        identities.keys.sort_by_key(|key| matches!(key, Key::Plugin(_)));
        match (identities.keys.is_empty(), identities.unusable.is_empty()) {
            (false, _) => Ok(identities),
            (true, false) => Err(IdentityError::Unusable { files: files.to_vec(), why: identities.unusable }),
            (true, true) => Err(IdentityError::Missing { looked: files.to_vec() }),
        }
    }

    fn add(&mut self, file: &Path, content: &[u8], prompt: &Arc<dyn Prompt>) -> Result<(), IdentityError> {
        if content.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") || content.starts_with(b"age-encryption.org/") {
            return Err(IdentityError::Encrypted { file: file.to_owned() });
        }
        if content.trim_ascii_start().starts_with(b"-----BEGIN ") {
            let key = parse_ssh(file, content.trim_ascii_start(), &**prompt)?;
            self.keys.push(Key::Ssh(Box::new(key)));
            return Ok(());
        }
        let found = parse_age(file, content)?;
        if found.is_empty() {
            return Err(IdentityError::Empty { file: file.to_owned() });
        }
        self.keys.extend(found.native.into_iter().map(Key::Age));
        self.unusable.extend(found.unknown.iter().map(|kind| format!("keys of type {kind} are not supported")));
        self.add_plugins(&found.plugins, prompt);
        Ok(())
    }

    /// Adds each plugin once, with all of its keys.
    fn add_plugins(&mut self, keys: &[plugin::Identity], prompt: &Arc<dyn Prompt>) {
        let names: BTreeSet<&str> = keys.iter().map(plugin::Identity::plugin).collect();
        for name in names {
            match IdentityPluginV1::new(name, keys, Callbacks(Arc::clone(prompt))) {
                Ok(plugin) => self.keys.push(Key::Plugin(Box::new(plugin))),
                Err(_) => self.unusable.push(format!("age-plugin-{name} is not on PATH")),
            }
        }
    }

    /// Loads the first existing file of the order (see [`IdentityPlaces`](crate::IdentityPlaces::search_order)).
    ///
    /// # Errors
    /// None exists, or the first existing one cannot be loaded.
    pub fn find(order: &[PathBuf], prompt: &Arc<dyn Prompt>) -> Result<Self, IdentityError> {
        match order.iter().find(|file| file.exists()) {
            Some(file) => Self::load(std::slice::from_ref(file), prompt),
            None => Err(IdentityError::Missing { looked: order.to_vec() }),
        }
    }

    /// Returns the files that the identities were loaded from.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| match key {
            Key::Age(key) => key as &dyn age::Identity,
            Key::Ssh(key) => &**key as &dyn age::Identity,
            Key::Plugin(plugin) => &**plugin as &dyn age::Identity,
        })
    }
}

/// The files and the unusable keys in them, but never a key.
impl fmt::Display for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&list(&self.files))?;
        if self.unusable.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.unusable.join(", ")) }
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

fn parse_age(file: &Path, content: &[u8]) -> Result<IdentityFile, IdentityError> {
    IdentityFile::parse(content).map_err(|line| IdentityError::Line { file: file.to_owned(), line })
}

fn parse_ssh(file: &Path, content: &[u8], prompt: &dyn Prompt) -> Result<ssh::Identity, IdentityError> {
    let unsupported = |why: String| IdentityError::Unsupported { file: file.to_owned(), why };
    let parsed = ssh::Identity::from_buffer(content, None)
        .map_err(|_| unsupported("it is not a complete OpenSSH private key".to_owned()))?;
    match parsed {
        ssh::Identity::Unencrypted(_) => Ok(parsed),
        ssh::Identity::Encrypted(key) => {
            let words = prompt.passphrase(file).ok_or_else(|| IdentityError::NoPassphrase { file: file.to_owned() })?;
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
        ssh::UnsupportedKey::Hardware(kind) => format!("`{kind}` is stored on a hardware key"),
        ssh::UnsupportedKey::Type(kind) => format!("keys of type `{kind}` are not supported"),
    }
}

/// A new age identity. Not shown by `Debug`.
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
    // The layout of `age-keygen`, without the time of creation.
    let secret = Zeroizing::new(format!("# public key: {recipient}\n{}\n", identity.to_string().expose_secret()));
    GeneratedIdentity { secret, recipient }
}

/// Returns the recipient of an age identity file, `age1...`: that of its first native identity, otherwise the first one
/// in a comment, where plugins write it.
///
/// # Errors
/// The file cannot be read, or is not an age identity file (the public half of an SSH key is in a `.pub` file).
pub fn recipient_of_file(file: &Path) -> Result<String, IdentityError> {
    let content =
        fs::read(file).map(Zeroizing::new).map_err(|source| IdentityError::Read { file: file.to_owned(), source })?;
    if content.trim_ascii_start().starts_with(b"-----BEGIN ") {
        let why = "its recipient is the public key in the `.pub` file beside it: use that as the operator's `ssh`";
        return Err(IdentityError::Unsupported { file: file.to_owned(), why: why.to_owned() });
    }
    let found = parse_age(file, &content)?;
    let native = found.native.first().map(|key| key.to_public().to_string());
    native.or_else(|| found.noted.into_iter().next()).ok_or_else(|| IdentityError::Empty { file: file.to_owned() })
}
