//! Data keys of sops files: wrapped for one recipient each, in an age file of its own.

use std::{
    fmt,
    io::{Read as _, Write as _},
};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use bech32::{Bech32, Hrp};
use curve25519_dalek::edwards::CompressedEdwardsY;
use machinist_model::Operator;
use ssh_key::PublicKey;
use zeroize::Zeroizing;

use crate::{EncryptError, Identities, RecipientError, recipients::Entry};

/// The longest wrapped data key that is read, in bytes.
const MAX_WRAPPED: usize = 64 << 10;
/// The longest data key, or share of one, in bytes.
const MAX_KEY: usize = 64;

/// A recipient with its text in sops files: `age1...`, or the type and the key of an SSH public key.
pub struct KeyRecipient {
    text: String,
    key: Box<dyn age::Recipient + Send + Sync>,
}

impl KeyRecipient {
    /// Returns the recipient of an operator: `age` if the operator has it, otherwise the SSH key.
    ///
    /// # Errors
    /// The operator has no key that age can encrypt to.
    pub fn of_operator(operator: &Operator) -> Result<Self, RecipientError> {
        let entry = Entry::of(operator)?;
        let text = match (&operator.age, &operator.ssh) {
            (Some(age), _) => age.trim().to_owned(),
            (None, Some(line)) => line.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
            (None, None) => String::new(),
        };
        Ok(Self { text, key: entry.into_key() })
    }

    /// Returns the recipient of a node: its SSH host key as `age1...`. `None` if it is not an ed25519 key.
    #[must_use]
    pub fn of_host_key(line: &str) -> Option<Self> {
        let text = age_recipient_of_host_key(line)?;
        let key: age::x25519::Recipient = text.parse().ok()?;
        Some(Self { text, key: Box::new(key) })
    }

    /// Returns the text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Encrypts a data key to this recipient. Returns ASCII-armored text.
    ///
    /// # Errors
    /// age refuses the recipient.
    pub fn wrap(&self, data_key: &[u8]) -> Result<String, EncryptError> {
        let failed = |source| EncryptError::Recipients { recipients: self.text.clone(), source: Box::new(source) };
        let key: &dyn age::Recipient = &*self.key;
        let encryptor = age::Encryptor::with_recipients(std::iter::once(key)).map_err(failed)?;
        let write = || {
            let armor = ArmoredWriter::wrap_output(Vec::with_capacity(1024), Format::AsciiArmor)?;
            let mut output = encryptor.wrap_output(armor)?;
            output.write_all(data_key)?;
            output.finish()?.finish()
        };
        write().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(EncryptError::Write)
    }
}

impl fmt::Debug for KeyRecipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("KeyRecipient").field(&self.text).finish()
    }
}

impl Identities {
    /// Decrypts a wrapped data key. `None` if it is for another recipient, or damaged.
    #[must_use]
    pub fn unwrap_key(&self, wrapped: &str) -> Option<Zeroizing<Vec<u8>>> {
        if wrapped.len() > MAX_WRAPPED {
            return None;
        }
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(wrapped.as_bytes())).ok()?;
        let reader = decryptor.decrypt(self.keys()).ok()?;
        let mut key = Zeroizing::new(Vec::with_capacity(MAX_KEY + 1));
        reader.take(MAX_KEY as u64 + 1).read_to_end(&mut key).ok()?;
        Some(key)
    }
}

/// Returns the age recipient of an ed25519 SSH public key, as ssh-to-age computes it: the same point on Curve25519.
#[must_use]
pub fn age_recipient_of_host_key(line: &str) -> Option<String> {
    let key = PublicKey::from_openssh(line.trim()).ok()?;
    let point = CompressedEdwardsY(key.key_data().ed25519()?.0).decompress()?;
    bech32::encode::<Bech32>(Hrp::parse_unchecked("age"), point.to_montgomery().as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{generate_identity, no_prompt};

    #[test]
    fn a_host_key_has_a_recipient_and_other_keys_have_none() {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";
        let recipient = age_recipient_of_host_key(line).unwrap();
        assert!(recipient.parse::<age::x25519::Recipient>().is_ok(), "{recipient}");
        assert_eq!(age_recipient_of_host_key("ssh-rsa AAAA"), None);
    }

    #[test]
    fn a_data_key_is_for_its_recipient() {
        let generated = generate_identity();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, generated.secret()).unwrap();
        let identities = Identities::load(&[file], &no_prompt()).unwrap();
        let operator = |age: &str| Operator { name: "a".to_owned(), ssh: None, age: Some(age.to_owned()) };
        let own = KeyRecipient::of_operator(&operator(generated.recipient())).unwrap();
        let other = KeyRecipient::of_operator(&operator(generate_identity().recipient())).unwrap();
        let wrapped = own.wrap(&[7; 32]).unwrap();
        assert_eq!(identities.unwrap_key(&wrapped).unwrap().as_slice(), [7; 32]);
        assert!(identities.unwrap_key(&other.wrap(&[7; 32]).unwrap()).is_none());
        assert!(identities.unwrap_key(&wrapped[..wrapped.len() / 2]).is_none(), "a truncated one");
    }
}
