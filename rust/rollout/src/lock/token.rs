//! The token of a lock: what proves that a command holds it.

use super::lease::MARGIN;

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The counter that was given with it.
    pub fence: u64,
    /// The run that holds it.
    pub run: String,
}

impl Token {
    /// What a script has to know to act under the lock only.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [("fence", self.fence.to_string()), ("run", self.run.clone()), ("margin", MARGIN.to_string())]
    }
}
