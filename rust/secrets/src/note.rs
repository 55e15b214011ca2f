//! What an encrypted file says about itself to anyone.
//!
//! An age header is a list of stanzas, one a recipient, and readers skip the types that they do not know (age
//! specification, "Recipient stanza"). We add one stanza of our own, without a secret in it:
//!
//! ```text
//! -> machinist about=0123456789abcdef for=age1... for=ssh-ed25519:SHA256:...
//! ```
//!
//! Recipients of type X25519 are anonymous in age. With the note a file that cannot be opened still says who could, and a
//! private key says which public key it belongs to. The header's MAC covers the note, but only who can decrypt the file can
//! check that: take it as advice.

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

/// What an encrypted file says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// What the content belongs to, as the writer said: for private keys the key id.
    pub about: Option<String>,
    /// Whom it is encrypted for, as [`Recipients::labels`](crate::Recipients::labels) shows them. Empty if the file was
    /// written by another program.
    pub recipients: Vec<String>,
}

/// Why a file is no whole age file.
#[derive(Debug, Error)]
pub enum CorruptError {
    /// It does not begin as one.
    #[error("it does not begin with `-----BEGIN AGE ENCRYPTED FILE-----`")]
    NotArmored,
    /// The armor is broken or cut off.
    #[error("its ASCII armor is broken or cut off")]
    Armor(#[source] io::Error),
    /// The header is broken or cut off.
    #[error("its age header is broken or cut off")]
    Header,
}

impl Note {
    /// Reads the note of an ASCII-armored age file, and checks on the way that the armor and the header are whole.
    ///
    /// # Errors
    /// The file is no whole age file.
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

/// A recipient that brings the note along. The note is no recipient itself: its labels would have to be those of all others.
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
    /// A stanza that opens nothing.
    fn stanza(&self) -> Stanza {
        let about = self.about.iter().map(|about| format!("about={about}"));
        let recipients = self.recipients.iter().map(|recipient| format!("for={recipient}"));
        Stanza { tag: TAG.to_owned(), args: about.chain(recipients).collect(), body: Vec::new() }
    }
}
