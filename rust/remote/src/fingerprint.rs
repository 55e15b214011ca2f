//! SHA256 fingerprints of SSH public keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a public key's wire form; prints as `ssh-keygen -l` does: `SHA256:` and unpadded base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// The text is not a SHA256 fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fingerprint of the form SHA256:<43 characters of base64>")]
pub struct FingerprintError {
    /// The invalid text.
    pub text: String,
}

impl Fingerprint {
    /// Returns the fingerprint of a public key in wire form (the decoded base64 field of a `.pub` file).
    pub fn of_key_blob(blob: &[u8]) -> Self {
        Self(Sha256::digest(blob).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix("SHA256:")
            // `openssl dgst` and others print the padding.
            .map(|encoded| encoded.trim_end_matches('='))
            .and_then(|encoded| STANDARD_NO_PAD.decode(encoded).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| FingerprintError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_fingerprint_reads_back_what_it_prints() {
        let fingerprint = Fingerprint::of_key_blob(b"key");
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        assert_eq!(format!("{fingerprint}=").parse::<Fingerprint>().unwrap(), fingerprint);
    }

    #[test]
    fn other_texts_are_not_fingerprints() {
        for text in
            ["", "SHA256:", "SHA256:abc", "MD5:aa:bb", "uNiVztksCsDhcc0u9e8BrgJXVGDIlmYSOr0+/SkZbQY", "SHA256:***"]
        {
            assert!(text.parse::<Fingerprint>().is_err(), "{text} was taken for a fingerprint");
        }
    }
}
