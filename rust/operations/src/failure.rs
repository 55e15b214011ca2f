//! Error type of all operations: what failed, its causes, and a hint.

use std::fmt;

use machinist_model::{Diagnostic, NodeName};
use serde::Serialize;

/// Kind of a failure, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operation failed; exit code 1.
    Failed,
    /// The command line or the cluster's files are invalid; exit code 2.
    Input,
    /// A check refused the operation before it changed anything; exit code 3.
    Refused,
}

impl Kind {
    /// Returns the exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Input => 2,
            Self::Refused => 3,
        }
    }
}

/// Error of an operation, ready for display.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Kind, which decides the exit code.
    #[serde(skip)]
    pub kind: Kind,
    /// Operation and subject that failed.
    #[serde(rename = "error")]
    pub message: String,
    /// Causes, starting with the nearest.
    pub causes: Vec<String>,
    /// Hint for a fix.
    pub hints: Vec<String>,
    /// Errors in machines.nix, with their locations.
    #[serde(skip)]
    pub diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// Creates a failure from a message.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), causes: Vec::new(), hints: Vec::new(), diagnostics: Vec::new() }
    }

    /// Creates a failure from errors in a file.
    #[must_use]
    pub fn diagnosed(file: &str, diagnostics: Vec<Diagnostic>) -> Self {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.code.is_error()).count();
        let noun = if errors == 1 { "error" } else { "errors" };
        Self { diagnostics, ..Self::new(Kind::Input, format!("{errors} {noun} in {file}")) }
    }

    /// Creates a failure from an error and its chain of causes, without repetitions.
    #[must_use]
    pub fn from_error(kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut failure = Self::new(kind, error);
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !failure.message.contains(&text) && !failure.causes.iter().any(|known| known.contains(&text)) {
                failure.causes.push(text);
            }
            source = cause.source();
        }
        failure
    }

    /// Creates a failure of a node. Its name is the message's prefix exactly once: connection errors already begin with
    /// it.
    #[must_use]
    pub fn on(node: &NodeName, kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        let failure = Self::from_error(kind, error);
        let message = format!("{node}: {}", without_name(node, &failure.message));
        Self { message, ..failure }
    }

    /// Returns the message with its causes, joined by colons.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).cloned().collect::<Vec<_>>().join(": ")
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a hint, if one is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }
}

/// Returns an error of a node with its causes as one line, for a line that already names the node.
#[must_use]
pub fn words(node: &NodeName, error: &(dyn std::error::Error + 'static)) -> String {
    without_name(node, &Failure::from_error(Kind::Failed, error).in_one_line()).to_owned()
}

fn without_name<'a>(node: &NodeName, text: &'a str) -> &'a str {
    text.strip_prefix(node.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text)
}

/// Conversion of errors into failures at their source: `.input()?` for invalid input, `.failed()?` for other errors.
pub trait OrFail<T> {
    /// Converts the error into a failure of kind `Input`.
    ///
    /// # Errors
    /// Returns the error as a failure.
    fn input(self) -> Result<T, Failure>;
    /// Converts the error into a failure of kind `Failed`.
    ///
    /// # Errors
    /// Returns the error as a failure.
    fn failed(self) -> Result<T, Failure>;
}

impl<T, E: std::error::Error + 'static> OrFail<T> for Result<T, E> {
    fn input(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::from_error(Kind::Input, &error))
    }

    fn failed(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::from_error(Kind::Failed, &error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::{Failure, Kind, words};

    #[test]
    fn a_nodes_name_is_printed_once() {
        let node = NodeName::parse("c1").unwrap();
        for (text, rest) in [("c1: no answer", "no answer"), ("locked", "locked"), ("c11: x", "c11: x")] {
            let error = std::io::Error::other(text);
            assert_eq!(Failure::on(&node, Kind::Failed, &error).message, format!("c1: {rest}"));
            assert_eq!(words(&node, &error), rest);
        }
    }
}
