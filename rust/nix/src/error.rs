//! What can go wrong when a nix program runs.

use std::time::Duration;

use thiserror::Error;

/// What can go wrong when a nix program runs.
#[derive(Debug, Error)]
pub enum NixError {
    /// The program is not on PATH.
    #[error("`{program}` is not on PATH")]
    Missing {
        /// The program's name.
        program: String,
    },
    /// The program could not be started, fed or read.
    #[error("cannot run `{program}`")]
    Io {
        /// The program's name.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program ran longer than its bound and was ended.
    #[error("`{program}` did not end within {} s", .bound.as_secs())]
    Timeout {
        /// The command line, shortened to what names it.
        program: String,
        /// The bound.
        bound: Duration,
    },
    /// The program failed.
    #[error("`{command}` failed:\n{message}")]
    Failed {
        /// The command line, as a person would repeat it.
        command: String,
        /// What it said, trimmed.
        message: String,
    },
    /// The evaluation misses a file of a submodule.
    #[error("`{command}` failed:\n{message}")]
    Submodule {
        /// The command line, as a person would repeat it.
        command: String,
        /// What it said, trimmed.
        message: String,
        /// The submodule, relative to the work tree.
        submodule: String,
    },
    /// A path of the local store is not what was recorded when it was made.
    #[error("{path} is damaged: it is not what this computer's store recorded when it was made")]
    Damaged {
        /// The path.
        path: crate::StorePath,
    },
    /// The program's answer is not what it should be.
    #[error("`{program}` answered something unexpected: {detail}")]
    Answer {
        /// The program's name.
        program: String,
        /// What is unexpected.
        detail: String,
    },
}

impl NixError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { program } if program == "git" => Some("install git".to_owned()),
            Self::Missing { .. } => Some(
                "install Nix 2.8 or newer: https://nixos.org/download, or `apt-get install nix-bin` on Debian"
                    .to_owned(),
            ),
            Self::Submodule { submodule, .. } => Some(submodule_hint(submodule)),
            Self::Damaged { path } => Some(format!("`nix-store --repair-path {path}` fetches or builds it anew")),
            Self::Failed { message, .. } if message.contains("is not valid") || message.contains("corrupt") => {
                Some("the local store may be damaged: `nix-store --verify --check-contents --repair`".to_owned())
            }
            _ => None,
        }
    }
}

/// What to do about a module in a submodule.
pub(crate) fn submodule_hint(submodule: &str) -> String {
    format!(
        "{submodule} is a git submodule, and a flake does not see what is in one: copy its files into this repository, or \
         make it an input of flake.nix"
    )
}
