//! Exit status and console of a container that ended.

/// The end of a machine's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Exit status of the machine's supervisor.
    pub status: i32,
    /// The last lines of the machine's console.
    pub last_words: String,
}
