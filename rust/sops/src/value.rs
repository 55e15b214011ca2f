//! Single values: their types, and their encrypted form `ENC[AES256_GCM,data:..,iv:..,tag:..,type:..]`.

use aes_gcm::{
    AeadInPlace, AesGcm, KeyInit,
    aead::generic_array::{ArrayLength, GenericArray},
    aes::Aes256,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rand_core::{OsRng, RngCore as _};
use thiserror::Error;
use zeroize::Zeroizing;

/// Length of a data key in bytes.
pub const KEY: usize = 32;
/// Length of a nonce that is written, in bytes. sops reads any length.
const NONCE: usize = 32;
const TAG: usize = 16;

/// A data key. Zeroed when dropped.
pub type DataKey = Zeroizing<[u8; KEY]>;

/// Returns a new data key.
///
/// # Errors
/// The system's random source fails.
pub fn new_key() -> Result<DataKey, SealError> {
    let mut key = Zeroizing::new([0; KEY]);
    OsRng.try_fill_bytes(&mut *key).map_err(|_| SealError::Random)?;
    Ok(key)
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Text, or the bytes of a binary file.
    Str,
    /// A signed integer of 64 bits.
    Int,
    /// A floating-point number of 64 bits.
    Float,
    /// A truth value.
    Bool,
    /// A time, only read.
    Time,
    /// Bytes, only read.
    Bytes,
    /// The text of a comment, without its `#`.
    Comment,
}

impl Kind {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Str, "str"),
        (Self::Int, "int"),
        (Self::Float, "float"),
        (Self::Bool, "bool"),
        (Self::Time, "time"),
        (Self::Bytes, "bytes"),
        (Self::Comment, "comment"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("str", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// A value in plain: its type, and its bytes as they are encrypted and hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    /// The type.
    pub kind: Kind,
    /// Text as it is; integers in decimal; floating-point numbers without an exponent; `True` or `False`.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Plain {
    /// Returns a value from its canonical bytes.
    pub fn new(kind: Kind, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, bytes: Zeroizing::new(bytes.into()) }
    }

    /// Returns a text.
    pub fn text(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::Str, bytes)
    }

    /// Returns the bytes as text, if they are UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }
}

impl Ord for Plain {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.kind, self.bytes.as_slice()).cmp(&(other.kind, other.bytes.as_slice()))
    }
}

impl PartialOrd for Plain {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The type and the length, but never the value.
impl std::fmt::Debug for Plain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}({} bytes)", self.kind.name(), self.bytes.len())
    }
}

/// Reason why a value could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The text does not have the form of an encrypted value.
    #[error("not an encrypted value")]
    Form,
    /// The type is unknown.
    #[error("unknown type `{0}`")]
    Type(String),
    /// The bytes do not match their tag: changed, moved from another key, or of another data key.
    #[error("the value was changed, or moved here from another key")]
    Tag,
    /// The bytes are not of the type.
    #[error("the decrypted value is not of its type")]
    Content,
}

/// Reason why a value could not be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// The system's random source fails.
    #[error("the system's random source failed")]
    Random,
    /// The value is longer than the cipher takes.
    #[error("the value is too long for the cipher")]
    Length,
}

/// Returns true for a text with the form of an encrypted value.
#[must_use]
pub fn is_encrypted(text: &str) -> bool {
    split(text).is_some()
}

/// Splits an encrypted value into data, nonce, tag and type. Each ends at the last place where the next one can start.
fn split(text: &str) -> Option<[&str; 4]> {
    let inner = text.strip_prefix("ENC[AES256_GCM,data:")?.strip_suffix(']')?;
    let (inner, kind) = inner.rsplit_once(",type:")?;
    let (inner, tag) = inner.rsplit_once(",tag:")?;
    let (data, nonce) = inner.rsplit_once(",iv:")?;
    let parts = [data, nonce, tag, kind];
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

/// Encrypts a value of this place. Empty text stays empty, as sops has it.
///
/// # Errors
/// The system's random source fails, or the value is longer than the cipher takes.
pub fn encrypt(key: &DataKey, place: &str, plain: &Plain) -> Result<String, SealError> {
    if plain.bytes.is_empty() {
        return Ok(String::new());
    }
    let mut nonce = [0_u8; NONCE];
    OsRng.try_fill_bytes(&mut nonce).map_err(|_| SealError::Random)?;
    let mut data = plain.bytes.clone();
    let tag = AesGcm::<Aes256, aes_gcm::aead::consts::U32>::new(GenericArray::from_slice(&**key))
        .encrypt_in_place_detached(GenericArray::from_slice(&nonce), place.as_bytes(), &mut data)
        .map_err(|_| SealError::Length)?;
    let [data, nonce, tag] = [&data[..], &nonce, &tag].map(|bytes| STANDARD.encode(bytes));
    Ok(format!("ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{}]", plain.kind.name()))
}

/// Decrypts a value of this place.
///
/// # Errors
/// It is malformed, does not match its tag, or is not of its type.
pub fn decrypt(key: &DataKey, place: &str, text: &str) -> Result<Plain, ValueError> {
    if text.is_empty() {
        return Ok(Plain::text(""));
    }
    let [data, nonce, tag, kind] = split(text).ok_or(ValueError::Form)?;
    let kind = Kind::parse(kind).ok_or_else(|| ValueError::Type(kind.chars().take(32).collect()))?;
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| ValueError::Form);
    let mut data = Zeroizing::new(bytes(data)?);
    let (nonce, tag) = (bytes(nonce)?, bytes(tag)?);
    if tag.len() != TAG {
        return Err(ValueError::Form);
    }
    open(key, &nonce, place, &mut data, &tag)?;
    checked(Plain { kind, bytes: data })
}

/// Decrypts with a nonce of the lengths that writers of sops files use.
fn open(key: &DataKey, nonce: &[u8], place: &str, data: &mut [u8], tag: &[u8]) -> Result<(), ValueError> {
    use aes_gcm::aead::consts::{U12, U16, U32};
    match nonce.len() {
        12 => open_with::<U12>(key, nonce, place, data, tag),
        16 => open_with::<U16>(key, nonce, place, data, tag),
        32 => open_with::<U32>(key, nonce, place, data, tag),
        _ => Err(ValueError::Form),
    }
}

fn open_with<N: ArrayLength<u8>>(
    key: &DataKey,
    nonce: &[u8],
    place: &str,
    data: &mut [u8],
    tag: &[u8],
) -> Result<(), ValueError> {
    AesGcm::<Aes256, N>::new(GenericArray::from_slice(&**key))
        .decrypt_in_place_detached(
            GenericArray::from_slice(nonce),
            place.as_bytes(),
            data,
            GenericArray::from_slice(tag),
        )
        .map_err(|_| ValueError::Tag)
}

/// Brings a decrypted value into the form in which it is hashed.
fn checked(plain: Plain) -> Result<Plain, ValueError> {
    let text = || plain.as_str().ok_or(ValueError::Content);
    let canonical = match plain.kind {
        Kind::Str | Kind::Bytes | Kind::Comment => return Ok(plain),
        Kind::Time => text()?.to_owned(),
        Kind::Int => text()?.parse::<i64>().map_err(|_| ValueError::Content)?.to_string(),
        Kind::Float => float(text()?).ok_or(ValueError::Content)?,
        Kind::Bool => match text()? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => "True".to_owned(),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => "False".to_owned(),
            _ => return Err(ValueError::Content),
        },
    };
    Ok(Plain::new(plain.kind, canonical))
}

/// Returns the canonical form of a floating-point number: the shortest digits, without an exponent.
#[must_use]
pub fn float(text: &str) -> Option<String> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key() -> DataKey {
        Zeroizing::new([7; KEY])
    }

    #[test]
    fn a_value_belongs_to_its_place() {
        let text = encrypt(&key(), "a:", &Plain::text("x")).unwrap();
        assert_eq!(decrypt(&key(), "a:", &text), Ok(Plain::text("x")));
        assert_eq!(decrypt(&key(), "b:", &text), Err(ValueError::Tag));
        assert_eq!(decrypt(&Zeroizing::new([8; KEY]), "a:", &text), Err(ValueError::Tag));
    }

    #[test]
    fn every_damage_of_a_value_is_an_error() {
        let text = encrypt(&key(), "a:", &Plain::text("some words")).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            // The type is not authenticated: sops has it so, and a MAC is over the values alone.
            let is_type = at >= text.find("type:").unwrap();
            assert!(is_type || decrypt(&key(), "a:", &changed).is_err(), "{at}: {changed}");
            assert!(decrypt(&key(), "a:", &text[..at]).is_err() || at == 0, "cut at {at}");
        }
    }

    #[test]
    fn empty_text_stays_empty() {
        assert_eq!(encrypt(&key(), "a:", &Plain::text("")).unwrap(), "");
        assert_eq!(decrypt(&key(), "a:", ""), Ok(Plain::text("")));
    }

    #[test]
    fn floats_have_no_exponent() {
        for (text, canonical) in [("1e3", "1000"), ("1.50", "1.5"), ("1e-7", "0.0000001"), ("-0.0", "-0")] {
            assert_eq!(float(text).as_deref(), Some(canonical));
        }
        assert_eq!((float("nan"), float("1e999")), (None, None));
    }

    #[test]
    fn debug_output_has_no_value() {
        assert_eq!(format!("{:?}", Plain::text("hunter2")), "str(7 bytes)");
    }
}
