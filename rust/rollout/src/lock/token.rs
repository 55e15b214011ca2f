//! Token of a lock, which proves that a command holds it.

use super::lease::MARGIN;

/// Proof of a held lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The counter after the lock was taken.
    pub fence: u64,
    /// The run that holds it.
    pub run: String,
}

impl Token {
    /// Returns the variables that a script needs to act only under the lock.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [("fence", self.fence.to_string()), ("run", self.run.clone()), ("margin", MARGIN.to_string())]
    }
}
