//! Errors of running nix programs.

use std::time::Duration;

use thiserror::Error;

/// An error of running a nix program.
#[allow(
    missing_docs,
    reason = "`program` is its name, `command` the command line to repeat, `message` the trimmed standard error, \
    `source` the system's error"
)]
#[derive(Debug, Error)]
pub enum NixError {
    /// The program is not on PATH.
    #[error("`{program}` is not on PATH")]
    Missing { program: String },
    /// The program could not be started, or its streams could not be read or written.
    #[error("cannot run `{program}`")]
    Io {
        program: String,
        #[source]
        source: std::io::Error,
    },
    /// The program exceeded its time limit and was killed.
    #[error("`{program}` did not finish within {} s", .bound.as_secs())]
    Timeout { program: String, bound: Duration },
    /// The program was ended on request.
    #[error("`{program}` was interrupted")]
    Interrupted { program: String },
    /// The program failed.
    #[error("`{command}` failed:\n{message}")]
    Failed { command: String, message: String },
    /// The evaluation is missing a file of a submodule, whose path is relative to the work tree.
    #[error("`{command}` failed:\n{message}")]
    Submodule { command: String, message: String, submodule: String },
    /// A path of the local store differs from its record.
    #[error("{path} is damaged: its content differs from this computer's store database")]
    Damaged { path: crate::StorePath },
    /// The program's output has an unexpected form, described by `detail`.
    #[error("unexpected output of `{program}`: {detail}")]
    Answer { program: String, detail: String },
}

impl NixError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { program } if program == "git" => Some("install git".to_owned()),
            Self::Missing { .. } => Some(
                "install Nix 2.8 or newer: https://nixos.org/download, or `apt-get install nix-bin` on Debian"
                    .to_owned(),
            ),
            Self::Submodule { submodule, .. } => Some(submodule_hint(submodule)),
            Self::Damaged { path } => Some(format!("`nix-store --repair-path {path}` fetches or builds it again")),
            Self::Failed { message, .. } if message.contains("is not valid") || message.contains("corrupt") => {
                Some("the local store may be damaged: `nix-store --verify --check-contents --repair`".to_owned())
            }
            _ => None,
        }
    }
}

/// Returns the hint for a module in a submodule.
pub(crate) fn submodule_hint(submodule: &str) -> String {
    format!(
        "{submodule} is a git submodule, and its files are invisible to a flake: copy its files into this repository, \
         or make it an input of flake.nix"
    )
}
