//! Private keys and the ids of public keys.

use std::{fmt, str::FromStr};

use machinist_secrets::Zeroizing;
use rand_core::OsRng;
use rcgen::{KeyPair, PublicKeyData};
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::{pem::Pem, prelude::FromDer};

/// The id of a public key: the first 16 hexadecimal digits of SHA-256 over its `SubjectPublicKeyInfo` in DER.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Returns the id of the key with this `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn of_spki(der: &[u8]) -> Self {
        let digest = Sha256::digest(der);
        Self(digest[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the ids of the keys in a PEM text that consists of public keys (`PUBLIC KEY`), at least one, in their
    /// order.
    #[must_use]
    pub fn of_public_pem(text: &[u8]) -> Option<Vec<Self>> {
        let id = |block: Result<Pem, _>| {
            let block = block.ok()?;
            let (rest, _) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&block.contents).ok()?;
            (block.label == "PUBLIC KEY" && rest.is_empty()).then(|| Self::of_spki(&block.contents))
        };
        let all: Vec<Self> = Pem::iter_from_buffer(text).map(id).collect::<Option<_>>()?;
        (!all.is_empty()).then_some(all)
    }

    /// Parses an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 16 && text.bytes().all(hexadecimal)).then(|| Self(text.to_owned()))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns the token derived from a private key in PEM: 64 hexadecimal digits, SHA-256 over the text. Without the key,
/// it can be neither guessed nor verified.
#[must_use]
pub fn token(pem: &[u8]) -> Zeroizing<Vec<u8>> {
    let digest = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(pem)));
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    Zeroizing::new(digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The algorithm of new keys. Existing certificates keep theirs until they are renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 4096 bits. Generation takes seconds per key.
    Rsa4096,
}

/// The text is not the name of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown key algorithm `{0}`: write ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096")]
pub struct UnknownAlgorithm(String);

impl KeyAlgorithm {
    /// All algorithms, the default first.
    pub const ALL: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa4096];

    /// Returns the name, as on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// A private key. Zeroed in memory when dropped.
pub struct PrivateKey(KeyPair);

/// Reason why a key is not available.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The key cannot be generated.
    #[error("cannot generate a key")]
    Generate(#[source] rcgen::Error),
    /// The RSA key cannot be generated.
    #[error("cannot generate an RSA key")]
    GenerateRsa(#[source] rsa::Error),
    /// The RSA key cannot be written as PKCS#8.
    #[error("cannot encode an RSA key")]
    EncodeRsa(#[source] rsa::pkcs8::Error),
    /// The text is not a private key that can sign.
    #[error("not a PKCS#8 private key in PEM of a type that can sign (ECDSA, Ed25519 or RSA)")]
    Parse(#[source] rcgen::Error),
}

impl PrivateKey {
    /// Generates a key from the system's random source.
    ///
    /// # Errors
    /// The system's random source fails.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            KeyAlgorithm::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyAlgorithm::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyAlgorithm::Rsa2048 => return Self::generate_rsa(2048),
            KeyAlgorithm::Rsa4096 => return Self::generate_rsa(4096),
        };
        pair.map(Self).map_err(KeyError::Generate)
    }

    /// Generates an Ed25519 key, for a control mesh.
    ///
    /// # Errors
    /// The system's random source fails.
    pub fn generate_ed25519() -> Result<Self, KeyError> {
        KeyPair::generate_for(&rcgen::PKCS_ED25519).map(Self).map_err(KeyError::Generate)
    }

    /// `ring`, which signs, cannot generate RSA keys, so the `rsa` crate does. The program contains it anyway, for
    /// age's SSH recipients. Its known timing leak (RUSTSEC-2023-0071) is in operations with a private key. Neither the
    /// generation here nor `ring`'s signatures are affected, but age decrypts with it when an operator's key is
    /// `ssh-rsa`. `check` and `certs gen` warn of such an operator.
    fn generate_rsa(bits: usize) -> Result<Self, KeyError> {
        let key = RsaPrivateKey::new(&mut OsRng, bits).map_err(KeyError::GenerateRsa)?;
        let der = key.to_pkcs8_der().map_err(KeyError::EncodeRsa)?;
        KeyPair::try_from(der.as_bytes()).map(Self).map_err(KeyError::Generate)
    }

    /// Parses a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// The text is not such a key.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        KeyPair::from_pem(text).map(Self).map_err(KeyError::Parse)
    }

    /// Returns the PKCS#8 PEM text.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// Returns the public half, PEM.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.0.public_key_pem()
    }

    /// Returns the id of the public half.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of_spki(&self.0.subject_public_key_info())
    }

    pub(crate) const fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(crate) fn is_rsa(&self) -> bool {
        self.0.is_compatible(&rcgen::PKCS_RSA_SHA256)
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        machinist_secrets::Zeroize::zeroize(&mut self.0);
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("PrivateKey").field(&self.id()).finish()
    }
}
