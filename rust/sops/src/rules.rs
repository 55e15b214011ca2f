//! Which values are encrypted.

use regex::Regex;
use thiserror::Error;

use crate::layout::Step;

/// The suffix of keys whose values stay plain, where a file has no rule.
const DEFAULT: &str = "_unencrypted";

/// The rule of a file. It holds if any key of a value's path matches.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Keys with this end stay plain.
    UnencryptedSuffix(String),
    /// Only keys with this end are encrypted.
    EncryptedSuffix(String),
    /// Keys that match stay plain.
    UnencryptedRegex(Regex),
    /// Only keys that match are encrypted.
    EncryptedRegex(Regex),
}

/// Reason why a file's rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// There is more than one.
    #[error("more than one rule says what is encrypted: {0}")]
    Several(String),
    /// It goes by comments.
    #[error("`{0}`, a rule by comments, is not supported")]
    Comments(String),
    /// It is not a regular expression that can be used.
    #[error("`{0}` is not a regular expression")]
    Regex(String),
}

/// The rules that a file can have, by their names in the metadata.
const NAMES: [&str; 6] = [
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
];

impl Default for Rule {
    fn default() -> Self {
        Self::UnencryptedSuffix(DEFAULT.to_owned())
    }
}

impl Rule {
    /// Returns the rule of the metadata, whose texts `get` returns by name.
    ///
    /// # Errors
    /// There are several, or it is not supported.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, RuleError> {
        let set: Vec<(&str, String)> =
            NAMES.iter().filter_map(|name| Some((*name, get(name).filter(|text| !text.is_empty())?))).collect();
        let (name, text) = match set.as_slice() {
            [] => return Ok(Self::default()),
            [one] => one.clone(),
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                return Err(RuleError::Several(names.join(", ")));
            }
        };
        let regex = || Regex::new(&text).map_err(|_| RuleError::Regex(name.to_owned()));
        match name {
            "unencrypted_suffix" => Ok(Self::UnencryptedSuffix(text)),
            "encrypted_suffix" => Ok(Self::EncryptedSuffix(text)),
            "unencrypted_regex" => Ok(Self::UnencryptedRegex(regex()?)),
            "encrypted_regex" => Ok(Self::EncryptedRegex(regex()?)),
            _ => Err(RuleError::Comments(name.to_owned())),
        }
    }

    /// Returns the rule's name in the metadata, and its text.
    #[must_use]
    pub fn entry(&self) -> (&'static str, &str) {
        match self {
            Self::UnencryptedSuffix(text) => (NAMES[0], text),
            Self::EncryptedSuffix(text) => (NAMES[1], text),
            Self::UnencryptedRegex(regex) => (NAMES[2], regex.as_str()),
            Self::EncryptedRegex(regex) => (NAMES[3], regex.as_str()),
        }
    }

    /// Returns true if the value at the path is encrypted.
    #[must_use]
    pub fn encrypts(&self, path: &[Step]) -> bool {
        let any = |matches: &dyn Fn(&str) -> bool| {
            path.iter().any(|step| match step {
                Step::Key(name) => matches(name),
                Step::Index(_) => false,
            })
        };
        match self {
            Self::UnencryptedSuffix(end) => !any(&|name| name.ends_with(end)),
            Self::EncryptedSuffix(end) => any(&|name| name.ends_with(end)),
            Self::UnencryptedRegex(regex) => !any(&|name| regex.is_match(name)),
            Self::EncryptedRegex(regex) => any(&|name| regex.is_match(name)),
        }
    }
}
