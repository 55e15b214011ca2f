//! Names that are safe in an etcd key, and in haproxy's configuration and commands.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// A name of a node, an application or an instance: 1 to 63 letters, digits, `.`, `_` and `-`, starting with a letter
/// or a digit. haproxy accepts these as one word, so no name can end a line or a word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(Box<str>);

/// Error for an invalid name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid name {0:?}: expected 1 to 63 letters, digits, `.`, `_` or `-`, starting with a letter or a digit")]
pub struct NameError(String);

impl Name {
    /// Parses a name as it may occur in an existing cluster.
    ///
    /// # Errors
    /// The name is too long, or has an invalid character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_name = (1..=63).contains(&text.len())
            && text.bytes().all(allowed)
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if is_name { Ok(Self(text.into())) } else { Err(NameError(text.chars().take(80).collect())) }
    }

    /// Returns `true` for an RFC 1123 label, the only form that we write.
    #[must_use]
    pub fn is_label(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        self.0.bytes().all(allowed) && !self.0.ends_with('-')
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Name;

    #[test]
    fn a_name_has_nothing_that_ends_a_word_or_a_line() {
        for good in ["a", "keydb-ha", "app.v2", "Web_1", "0"] {
            assert_eq!(&*Name::parse(good).unwrap(), good);
        }
        let long = "a".repeat(64);
        for bad in ["", "a b", "a\nb", "a;b", "a/b", "-a", ".a", "ä", "a\0", "a:b", "a\"", &long] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_we_write_is_stricter_than_what_we_read() {
        for (text, is_label) in [("a-1", true), ("a.b", false), ("A", false), ("a-", false), ("a_b", false)] {
            assert_eq!(Name::parse(text).unwrap().is_label(), is_label, "{text}");
        }
    }
}
