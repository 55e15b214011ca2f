//! Parser of age identity files: native keys, keys of plugins, and keys of unknown types.

use age::{plugin, x25519};
use age_core::primitives::bech32_decode;

/// The keys of an identity file by type, in the order of the file.
#[derive(Default)]
pub(crate) struct IdentityFile {
    pub(crate) native: Vec<x25519::Identity>,
    pub(crate) plugins: Vec<plugin::Identity>,
    /// Types of keys that are valid but unknown here, such as `AGE-SECRET-KEY-PQ-`.
    pub(crate) unknown: Vec<String>,
    /// Recipients in comments. Plugins write theirs there: only they can compute it.
    pub(crate) noted: Vec<String>,
}

impl IdentityFile {
    /// Parses the lines, or returns the number (from 1) of the first one that is neither a key nor a comment. Only the
    /// number, since the line may be a mistyped secret.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, usize> {
        let mut file = Self::default();
        for (number, line) in (1_usize..).zip(content.split(|byte| *byte == b'\n')) {
            let line = std::str::from_utf8(line).map_err(|_| number)?.trim();
            if let Some(comment) = line.strip_prefix('#') {
                file.noted
                    .extend(comment.split_whitespace().filter(|word| word.starts_with("age1")).map(str::to_owned));
            } else if !line.is_empty() {
                file.add(line).ok_or(number)?;
            }
        }
        Ok(file)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        if let Ok(key) = line.parse::<x25519::Identity>() {
            self.native.push(key);
        } else if let Ok(key) = line.parse::<plugin::Identity>() {
            self.plugins.push(key);
        } else {
            let kind = bech32_decode(line, drop, |_| Ok(()), |hrp, _| Ok(hrp.to_string().to_ascii_uppercase())).ok()?;
            // A native key of another length, or a custom prefix: neither is a type of keys.
            let is_kind = kind.starts_with("AGE-SECRET-KEY-") && kind != "AGE-SECRET-KEY-";
            is_kind.then(|| self.unknown.push(kind))?;
        }
        Some(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.native.is_empty() && self.plugins.is_empty() && self.unknown.is_empty()
    }
}
