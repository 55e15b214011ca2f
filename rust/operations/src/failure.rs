//! The error of every operation: what failed, why, and what to do next.

use std::fmt;

use machinist_model::{Diagnostic, NodeName};
use serde::Serialize;

/// Kind of a failure. It decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operation failed: 1.
    Failed,
    /// The command line or the cluster's files are wrong: 2.
    Input,
    /// Nothing was done because a check said no: 3.
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

/// Error of an operation.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Kind, which decides the exit code.
    #[serde(skip)]
    pub kind: Kind,
    /// The attempt and its subject.
    #[serde(rename = "error")]
    pub message: String,
    /// Causes, the nearest first.
    pub causes: Vec<String>,
    /// Remedies.
    pub hints: Vec<String>,
    /// Errors in machines.nix, with their places.
    #[serde(skip)]
    pub diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// A failure with a message of its own.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), causes: Vec::new(), hints: Vec::new(), diagnostics: Vec::new() }
    }

    /// A failure because of errors in a file.
    #[must_use]
    pub fn diagnosed(file: &str, diagnostics: Vec<Diagnostic>) -> Self {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.code.is_error()).count();
        let noun = if errors == 1 { "error" } else { "errors" };
        Self { diagnostics, ..Self::new(Kind::Input, format!("{errors} {noun} in {file}")) }
    }

    /// A failure from an error, with its chain of causes, each said once.
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

    /// A failure of a node: its name is at the beginning of the message, once. Errors of connections begin with it themselves.
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

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do next, where that is known.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }
}

/// Returns an error of a node with its causes in one line, for a line that names the node.
#[must_use]
pub fn words(node: &NodeName, error: &(dyn std::error::Error + 'static)) -> String {
    without_name(node, &Failure::from_error(Kind::Failed, error).in_one_line()).to_owned()
}

fn without_name<'a>(node: &NodeName, text: &'a str) -> &'a str {
    text.strip_prefix(node.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text)
}

/// Turns errors into failures where they are met: `.input()?` for what the person wrote, `.failed()?` for the rest.
pub trait OrFail<T> {
    /// The person's input is wrong.
    ///
    /// # Errors
    /// The error, as a failure.
    fn input(self) -> Result<T, Failure>;
    /// The operation failed.
    ///
    /// # Errors
    /// The error, as a failure.
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
