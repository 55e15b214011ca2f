//! Encryption and decryption of whole files.

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

/// Why something could not be encrypted.
#[derive(Debug, Error)]
pub enum EncryptError {
    /// The recipients do not go together, or one of them refuses.
    #[error("age cannot encrypt to {recipients}")]
    Recipients {
        /// The recipients.
        recipients: String,
        /// What age says.
        source: Box<age::EncryptError>,
    },
    /// The encrypted text could not be put together.
    #[error("age cannot write the encrypted text")]
    Write(#[source] io::Error),
    /// The subject of the note is empty, or holds a character that is not visible ASCII.
    #[error("`{0}` cannot stand in the header of an age file: only visible ASCII characters can")]
    About(String),
}

/// Why a file could not be decrypted.
#[derive(Debug, Error)]
pub enum DecryptError {
    /// The file is cut off, damaged, or no age file.
    #[error("{} is no whole age file", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: CorruptError,
    },
    /// The content does not pass the check of age: the file is damaged, or somebody changed it.
    #[error("{} is damaged: its content fails the check of age", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What age says.
        source: age::DecryptError,
    },
    /// A plugin cannot open the file, such as one whose hardware key is not plugged in.
    #[error("cannot decrypt {}: a plugin of age reports: {why}", .file.display())]
    Plugin {
        /// The file.
        file: PathBuf,
        /// What the plugin says.
        why: String,
    },
    /// No identity at hand opens the file.
    #[error("cannot decrypt {}: tried {tried}; {able}", .file.display())]
    WrongIdentity {
        /// The file.
        file: PathBuf,
        /// The identity files that were tried.
        tried: String,
        /// Who could open it.
        able: String,
    },
}

impl DecryptError {
    /// What to do about it.
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

/// Encrypts like [`encrypt`] and says in the clear what the content belongs to (see [`Note`]).
///
/// # Errors
/// age refuses a recipient, or `about` holds anything but visible ASCII characters.
pub fn encrypt_about(recipients: &Recipients, about: &str, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
    if about.is_empty() || !about.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EncryptError::About(about.to_owned()));
    }
    seal(recipients, plaintext, Some(about.to_owned()))
}

/// Encrypts what is written to it, of any length, as a binary age file.
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
    /// Writes the end, without which the file does not open, and returns the output.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

/// Begins a file that is encrypted to all of the recipients, for content that is too long to be held.
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

/// Decrypts `content`, which was read from `file`. The operators are asked for names only, so that an error can say who
/// could open the file.
///
/// # Errors
/// The content is no whole age file, or none of the identities opens it.
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
    // Reserved at once: a buffer that grows would leave copies of the secret behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(content.len()));
    reader.read_to_end(&mut plaintext).map_err(|error| damaged(error.into()))?;
    Ok(plaintext)
}

/// Decrypts an age file of any length as it is read, binary or armored, ours or another program's. What was read is only certain
/// to be whole when the end was reached without an error.
///
/// # Errors
/// It is no age file, or none of the identities opens it.
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
            DecryptError::WrongIdentity { file, tried: identities.to_string(), able: who_could(note, operators) }
        }
        age::DecryptError::Plugin(errors) => {
            let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
            DecryptError::Plugin { file, why: why.join("; ") }
        }
        // The connection to a plugin is the only stream that can end early: the file was read as a whole.
        age::DecryptError::Io(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
            DecryptError::Plugin { file, why: error.to_string() }
        }
        source => DecryptError::Damaged { file, source },
    }
}

/// Says who could open a file: the recipients that it names itself, with the names of today's operators, or else the
/// operators.
fn who_could(note: &Note, operators: &[Operator]) -> String {
    let known: Vec<_> =
        operators.iter().filter_map(|operator| Some((recipients::label(operator)?, &operator.name))).collect();
    if note.recipients.is_empty() {
        let names: Vec<_> = known.iter().map(|(label, name)| format!("{name} ({label})")).collect();
        return format!("it does not say whom it is encrypted for; the operators are {}", or_nobody(&names));
    }
    let able: Vec<_> = note
        .recipients
        .iter()
        .map(|recipient| match known.iter().find(|(label, _)| label == recipient) {
            Some((label, name)) => format!("{name} ({label})"),
            None => format!("{recipient} (no operator of machines.nix)"),
        })
        .collect();
    format!("it is encrypted for {}", or_nobody(&able))
}

fn or_nobody(names: &[String]) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}
