//! The end of a machine's container.

/// How the container of a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Exit status of its supervisor.
    pub status: i32,
    /// The last lines of its console.
    pub last_words: String,
}
