//! Manifests: files of YAML or JSON, each with one document or many, and the lines that everything in them stands on.
//!
//! They are read as `kubectl` reads them. So `0644` is octal and `yes` is true, as in YAML 1.1, on which Kubernetes' own
//! reader is built: a file must not mean one thing here and another there.

mod compose;
mod directory;
mod scalar;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use thiserror::Error;

pub use self::{directory::read, scalar::resolve as plain};

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where its content begins.
    pub place: Place,
    /// What it says.
    pub value: Value,
    /// The line of each key, item and value in it.
    pub lines: Lines,
}

/// A line of a file, as people and editors write it: `manifests/web.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as it was named to the reader.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The lines of a document's parts, by JSON pointer (RFC 6901): `/spec/ports/0/port`. A mapping's entry stands where its key
/// stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Returns the line of what the pointer names, or of the nearest thing around it that is there.
    #[must_use]
    pub fn of(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.0.get(pointer) {
                return *line;
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return 1,
            }
        }
    }
}

impl Document {
    /// Returns the place of what the pointer names, or of the nearest thing around it that is there.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Place {
        Place { file: self.place.file.clone(), line: self.lines.of(pointer) }
    }
}

/// Why a file of manifests cannot be taken.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file or directory cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The text is no YAML, or none that JSON can say.
    #[error("{place}: {why}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong there.
        why: String,
    },
}

impl ManifestError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Syntax { place, .. } => {
                Some(format!("mend {}, or move it out of the directory", place.file.display()))
            }
        }
    }
}

/// Returns the documents of a file's text; empty ones are left out.
///
/// # Errors
/// The first thing in the text that is no YAML, is there twice, or has no counterpart in JSON.
pub fn parse(file: &Path, text: &str) -> Result<Vec<Document>, ManifestError> {
    compose::documents(text)
        .map(|documents| {
            let document = |(line, value, lines)| Document { place: place(file, line), value, lines: Lines(lines) };
            documents.into_iter().map(document).collect()
        })
        .map_err(|(line, why)| ManifestError::Syntax { place: place(file, line), why })
}

fn place(file: &Path, line: usize) -> Place {
    Place { file: file.to_owned(), line }
}

/// Appends a key or an index to a JSON pointer.
#[must_use]
pub fn pointer(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests;
