//! Names of nodes: RFC 1123 labels in lower case.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a node: an RFC 1123 label in lower case, 1 to 63 characters of `a-z`, `0-9` and `-`, that begins and
/// ends with a letter or digit.
///
/// The same name everywhere: host name, etcd member, certificate and Kubernetes node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// Reason why a text is not a valid node name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text has more than 63 characters, with their number.
    #[error("`{0}` has {1} characters, at most 63 are allowed")]
    TooLong(String, usize),
    /// The text has an invalid character, or one at an invalid position.
    #[error("`{0}` is not an RFC 1123 label: only a-z, 0-9 and -, with a letter or digit at both ends")]
    Invalid(String),
}

impl NodeName {
    /// Parses a name.
    ///
    /// # Errors
    /// The text is not an RFC 1123 label in lower case.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > 63 {
            return Err(NameError::TooLong(text.to_owned(), text.chars().count()));
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !text.bytes().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::Invalid(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::NodeName;

    #[track_caller]
    fn check(text: &str, expect: bool) {
        assert_eq!(NodeName::parse(text).is_ok(), expect, "{text:?}");
    }

    #[test]
    fn a_name_is_a_lowercase_rfc_1123_label() {
        check("cp1", true);
        check("a", true);
        check("1a-b", true);
        check(&"x".repeat(63), true);
        check(&"x".repeat(64), false);
        for bad in ["", "CP1", "a_b", "-a", "a-", "a.b", "ä", "a b"] {
            check(bad, false);
        }
    }
}
