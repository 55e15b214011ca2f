//! Encryption and decryption of files.

use std::{
    io::{self, BufRead, Read, Write},
    path::{Path, PathBuf},
};

use age::{
    armor::{ArmoredReader, ArmoredWriter, Format},
    stream::StreamWriter,
};
use machinist_model::Operator;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{CorruptError, Identities, Note, Recipients, note::Noted, recipients};

/// Reason why something could not be encrypted.
#[allow(missing_docs, reason = "`recipients` are their labels, `source` is age's error")]
#[derive(Debug, Error)]
pub enum EncryptError {
    /// The recipients cannot be combined, or one of them fails.
    #[error("age cannot encrypt to {recipients}")]
    Recipients { recipients: String, source: Box<age::EncryptError> },
    /// The encrypted text could not be assembled.
    #[error("age cannot write the encrypted text")]
    Write(#[source] io::Error),
    /// The subject of the note is empty, or contains a character other than visible ASCII.
    #[error("`{0}` cannot be in the header of an age file: only visible ASCII characters are allowed")]
    About(String),
}

/// Reason why a file could not be decrypted.
#[allow(
    missing_docs,
    reason = "`file` is its path, `why` the plugin's message, `tried` the identity files, `able` the recipients as a \
    sentence, `source` the cause"
)]
#[derive(Debug, Error)]
pub enum DecryptError {
    /// The file is truncated, damaged, or not an age file.
    #[error("{} is not a complete age file", .file.display())]
    Corrupt { file: PathBuf, source: CorruptError },
    /// The content fails age's integrity check: the file is damaged, or was modified.
    #[error("{} is damaged: its content fails age's integrity check", .file.display())]
    Damaged { file: PathBuf, source: age::DecryptError },
    /// A plugin cannot decrypt the file, for instance because its hardware key is not plugged in.
    #[error("cannot decrypt {}: an age plugin reports: {why}", .file.display())]
    Plugin { file: PathBuf, why: String },
    /// None of the identities decrypts the file.
    #[error("cannot decrypt {}: tried {tried}; {able}", .file.display())]
    WrongIdentity { file: PathBuf, tried: String, able: String },
}

impl DecryptError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Corrupt { .. } | Self::Damaged { .. } => {
                "restore the file from version control (`git checkout -- FILE`)".to_owned()
            }
            Self::Plugin { .. } => "make its key available, or set MACHINIST_IDENTITY to another identity".to_owned(),
            Self::WrongIdentity { .. } => {
                "set MACHINIST_IDENTITY to the identity file of one of them, or let one of them run this".to_owned()
            }
        })
    }
}

/// Encrypts to all of the recipients. Returns ASCII-armored text.
///
/// # Errors
/// age refuses a recipient.
pub fn encrypt(recipients: &Recipients, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
    seal(recipients, plaintext, None)
}

/// Encrypts like [`encrypt`], with the subject of the content in plaintext (see [`Note`]).
///
/// # Errors
/// age refuses a recipient, or `about` contains anything but visible ASCII characters.
pub fn encrypt_about(recipients: &Recipients, about: &str, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
    if about.is_empty() || !about.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EncryptError::About(about.to_owned()));
    }
    seal(recipients, plaintext, Some(about.to_owned()))
}

/// Writer that encrypts a stream of any length as a binary age file.
pub struct SealedWriter<W: Write>(StreamWriter<W>);

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> SealedWriter<W> {
    /// Writes the end, without which the file cannot be decrypted, and returns the output.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

/// Starts a file encrypted to all of the recipients, for content that is too long for memory.
///
/// # Errors
/// age refuses a recipient, or the output cannot be written.
pub fn encrypt_to<W: Write>(recipients: &Recipients, output: W) -> Result<SealedWriter<W>, EncryptError> {
    let encryptor = encryptor(recipients, None)?;
    encryptor.wrap_output(output).map(SealedWriter).map_err(EncryptError::Write)
}

fn encryptor(recipients: &Recipients, about: Option<String>) -> Result<age::Encryptor, EncryptError> {
    let note = Note { about, recipients: recipients.labels().map(str::to_owned).collect() };
    let names = note.recipients.join(", ");
    let keys: Vec<&dyn age::Recipient> = recipients.keys().collect();
    let first = keys.first().map(|recipient| Noted { recipient: *recipient, note });
    let noted = first.iter().map(|first| first as &dyn age::Recipient);
    age::Encryptor::with_recipients(noted.chain(keys.iter().skip(1).copied()))
        .map_err(|source| EncryptError::Recipients { recipients: names, source: Box::new(source) })
}

fn seal(recipients: &Recipients, plaintext: &[u8], about: Option<String>) -> Result<Vec<u8>, EncryptError> {
    let encryptor = encryptor(recipients, about)?;
    let write = || {
        let armor = ArmoredWriter::wrap_output(Vec::with_capacity(2 * plaintext.len() + 1024), Format::AsciiArmor)?;
        let mut output = encryptor.wrap_output(armor)?;
        output.write_all(plaintext)?;
        output.finish()?.finish()
    };
    write().map_err(EncryptError::Write)
}

/// Decrypts `content`, which was read from `file`. The operators serve only to name recipients in an error.
///
/// # Errors
/// The content is not a complete age file, or none of the identities decrypts it.
pub fn decrypt(
    identities: &Identities,
    file: &Path,
    content: &[u8],
    operators: &[Operator],
) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let note = Note::read(content).map_err(|source| DecryptError::Corrupt { file: file.to_owned(), source })?;
    let damaged = |source| explain(source, identities, file, &note, operators);
    let mut reader = age::Decryptor::new_buffered(ArmoredReader::new(content))
        .and_then(|decryptor| decryptor.decrypt(identities.keys()))
        .map_err(damaged)?;
    // Reserved at once: a growing buffer would leave copies of the secret behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(content.len()));
    reader.read_to_end(&mut plaintext).map_err(|error| damaged(error.into()))?;
    Ok(plaintext)
}

/// Decrypts an age file of any length as it is read, binary or armored, by machinist or another program. The data is
/// only known to be complete once the end was reached without an error.
///
/// # Errors
/// It is not an age file, or none of the identities decrypts it.
pub fn decrypt_from<R: BufRead + Send + 'static>(
    identities: &Identities,
    file: &Path,
    content: R,
    operators: &[Operator],
) -> Result<impl Read + Send + 'static, DecryptError> {
    age::Decryptor::new_buffered(ArmoredReader::new(content))
        .and_then(|decryptor| decryptor.decrypt(identities.keys()))
        .map_err(|source| explain(source, identities, file, &Note::default(), operators))
}

fn explain(
    source: age::DecryptError,
    identities: &Identities,
    file: &Path,
    note: &Note,
    operators: &[Operator],
) -> DecryptError {
    let file = file.to_owned();
    match source {
        age::DecryptError::NoMatchingKeys => {
            DecryptError::WrongIdentity { file, tried: identities.to_string(), able: able(note, operators) }
        }
        age::DecryptError::Plugin(errors) => {
            let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
            DecryptError::Plugin { file, why: why.join("; ") }
        }
        // The connection to a plugin is the only stream that can end early: the file was read completely.
        age::DecryptError::Io(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
            DecryptError::Plugin { file, why: error.to_string() }
        }
        source => DecryptError::Damaged { file, source },
    }
}

/// Names the recipients that can decrypt a file: those in its note, with the names of the current operators, or else
/// the operators.
fn able(note: &Note, operators: &[Operator]) -> String {
    let known: Vec<_> =
        operators.iter().filter_map(|operator| Some((recipients::label(operator)?, &operator.name))).collect();
    if note.recipients.is_empty() {
        let names: Vec<_> = known.iter().map(|(label, name)| format!("{name} ({label})")).collect();
        return format!("it does not name its recipients; the operators are {}", or_none(&names));
    }
    let able: Vec<_> = note
        .recipients
        .iter()
        .map(|recipient| match known.iter().find(|(label, _)| label == recipient) {
            Some((label, name)) => format!("{name} ({label})"),
            None => format!("{recipient} (not an operator of machines.nix)"),
        })
        .collect();
    format!("it is encrypted for {}", or_none(&able))
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() { "no one".to_owned() } else { names.join(", ") }
}
