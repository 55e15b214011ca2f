//! What ends a command, with what the person should do next.

use std::{fmt, process::ExitCode};

use machinist_model::NodeName;

/// Why a command ended without success. The kind decides the exit code.
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
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Input => 2,
            Self::Refused => 3,
        }
    }
}

/// What a command exits with if there is something to do.
pub const SOMETHING_TO_DO: u8 = 4;

/// What ends a command.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What was attempted, on what. Empty if everything was already said.
    pub message: String,
    /// What lies behind it, the nearest first.
    pub causes: Vec<String>,
    /// What to do next.
    pub hints: Vec<String>,
}

/// What a command returns: its exit code.
pub type Outcome = Result<ExitCode, Failure>;

impl Failure {
    /// A failure with a message of its own.
    pub fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), causes: Vec::new(), hints: Vec::new() }
    }

    /// A failure of which everything was already said on the terminal.
    pub const fn said(kind: Kind) -> Self {
        Self { kind, message: String::new(), causes: Vec::new(), hints: Vec::new() }
    }

    /// A failure from an error, with its chain of causes, each said once.
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
    pub fn on(node: &NodeName, kind: Kind, error: &(dyn std::error::Error + 'static)) -> Self {
        let failure = Self::from_error(kind, error);
        let message = format!("{node}: {}", without_name(node, &failure.message));
        Self { message, ..failure }
    }

    /// Returns the message with its causes, joined by colons.
    pub fn in_one_line(&self) -> String {
        std::iter::once(&self.message).chain(&self.causes).cloned().collect::<Vec<_>>().join(": ")
    }

    /// Adds what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do next, where that is known.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hints.extend(hint);
        self
    }
}

/// Returns an error of a node with its causes in one line, for a line that names the node.
pub fn words(node: &NodeName, error: &(dyn std::error::Error + 'static)) -> String {
    without_name(node, &Failure::from_error(Kind::Failed, error).in_one_line()).to_owned()
}

fn without_name<'a>(node: &NodeName, text: &'a str) -> &'a str {
    text.strip_prefix(node.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text)
}

/// Turns errors into failures where they are met: `.input()?` for what the person wrote, `.failed()?` for the rest.
pub trait OrFail<T> {
    /// The person's input is wrong.
    fn input(self) -> Result<T, Failure>;
    /// The operation failed.
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
