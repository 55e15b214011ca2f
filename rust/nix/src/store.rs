//! Store paths.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A path directly in the store: `/nix/store/<32 characters of the hash>-<name>`, nothing below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

/// The text is not a store path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a store path (/nix/store/<hash>-<name>)")]
pub struct StorePathError(String);

/// The characters of Nix' base 32: no e, o, t, u (Nix manual, "Store path").
const BASE32: &str = "0123456789abcdfghijklmnpqrsvwxyz";

impl StorePath {
    /// Parses a store path.
    ///
    /// # Errors
    /// The text is not a store path, or names something below one.
    pub fn parse(text: &str) -> Result<Self, StorePathError> {
        let valid = || {
            let (hash, name) = text.strip_prefix("/nix/store/")?.split_once('-')?;
            let name_ok = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-._?=".contains(c));
            (hash.len() == 32 && hash.chars().all(|c| BASE32.contains(c)) && name_ok).then_some(())
        };
        valid().map(|()| Self(text.to_owned())).ok_or_else(|| StorePathError(text.to_owned()))
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl TryFrom<String> for StorePath {
    type Error = StorePathError;

    fn try_from(text: String) -> Result<Self, StorePathError> {
        Self::parse(&text)
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::StorePath;

    #[test]
    fn only_a_whole_store_path_is_one() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        assert!(StorePath::parse(&format!("/nix/store/{hash}-nixos-system-a-26.05")).is_ok());
        for bad in [
            format!("/nix/store/{hash}-a/bin/x"),
            format!("/nix/store/{hash}"),
            format!("/nix/store/{hash}-"),
            format!("/tmp/{hash}-a"),
            format!("/nix/store/{}e-a", &hash[..31]),
            format!("/nix/store/{hash}-a; rm"),
        ] {
            assert!(StorePath::parse(&bad).is_err(), "{bad}");
        }
    }
}
