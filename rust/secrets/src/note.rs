//! Plaintext metadata of an encrypted file.
//!
//! An age header is a list of stanzas, one per recipient, and readers skip types that they do not know (age
//! specification, "Recipient stanza"). machinist adds one stanza, which contains no secret:
//!
//! ```text
//! -> machinist about=0123456789abcdef for=age1... for=ssh-ed25519:SHA256:...
//! ```
//!
//! Recipients of type X25519 are anonymous in age. With the note, a file that cannot be decrypted still names its
//! recipients, and a private key names its public key. The header's MAC covers the note, but verifying it requires
//! decryption: treat the note as advisory.

use std::{
    collections::HashSet,
    io::{self, Read},
};

use age::armor::ArmoredReader;
use age_core::format::{FileKey, Stanza};
use thiserror::Error;

const TAG: &str = "machinist";
const MAGIC: &str = "age-encryption.org/v1\n";
const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Plaintext metadata of an encrypted file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// The subject of the content, as given by the writer: for private keys the key id.
    pub about: Option<String>,
    /// Its recipients, as shown by [`Recipients::labels`](crate::Recipients::labels). Empty if the file was written by
    /// another program.
    pub recipients: Vec<String>,
}

/// Reason why a file is not a complete age file.
#[derive(Debug, Error)]
pub enum CorruptError {
    /// The first line is a different one.
    #[error("it does not begin with `-----BEGIN AGE ENCRYPTED FILE-----`")]
    NotArmored,
    /// The armor is malformed or truncated.
    #[error("its ASCII armor is malformed or truncated")]
    Armor(#[source] io::Error),
    /// The header is malformed or truncated.
    #[error("its age header is malformed or truncated")]
    Header,
}

impl Note {
    /// Reads the note of an ASCII-armored age file, and verifies that the armor and the header are complete.
    ///
    /// # Errors
    /// The file is not a complete age file.
    pub fn read(file: &[u8]) -> Result<Self, CorruptError> {
        if !file.trim_ascii_start().starts_with(BEGIN) {
            return Err(CorruptError::NotArmored);
        }
        let mut binary = Vec::with_capacity(file.len());
        ArmoredReader::new(file).read_to_end(&mut binary).map_err(CorruptError::Armor)?;
        let end = binary.windows(5).position(|window| window == b"\n--- ").ok_or(CorruptError::Header)?;
        let header = std::str::from_utf8(&binary[..end]).map_err(|_| CorruptError::Header)?;
        let stanzas = header.strip_prefix(MAGIC).ok_or(CorruptError::Header)?;
        let ours = stanzas.lines().find_map(|line| line.strip_prefix("-> ")?.strip_prefix(TAG)?.strip_prefix(' '));
        Ok(ours.map(Self::parse).unwrap_or_default())
    }

    fn parse(arguments: &str) -> Self {
        let mut note = Self::default();
        for argument in arguments.split(' ') {
            if let Some(about) = argument.strip_prefix("about=") {
                note.about = Some(about.to_owned());
            } else if let Some(recipient) = argument.strip_prefix("for=") {
                note.recipients.push(recipient.to_owned());
            }
        }
        note
    }
}

/// A recipient that adds the note. The note itself is not a recipient: its labels would have to be those of all others.
pub(crate) struct Noted<'a> {
    pub(crate) recipient: &'a dyn age::Recipient,
    pub(crate) note: Note,
}

impl age::Recipient for Noted<'_> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (mut stanzas, labels) = self.recipient.wrap_file_key(key)?;
        stanzas.push(self.note.stanza());
        Ok((stanzas, labels))
    }
}

impl Note {
    /// Returns a stanza that decrypts nothing.
    fn stanza(&self) -> Stanza {
        let about = self.about.iter().map(|about| format!("about={about}"));
        let recipients = self.recipients.iter().map(|recipient| format!("for={recipient}"));
        Stanza { tag: TAG.to_owned(), args: about.chain(recipients).collect(), body: Vec::new() }
    }
}
