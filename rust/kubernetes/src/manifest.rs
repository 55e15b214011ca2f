//! Manifests: YAML or JSON files of one or more documents, with the source line of every part.
//!
//! They are parsed as `kubectl` parses them. So `0644` is octal and `yes` is true, as in YAML 1.1, on which Kubernetes'
//! own parser is based: a file must not mean one thing here and another there.

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
    /// First line of its content.
    pub place: Place,
    /// Content as JSON.
    pub value: Value,
    /// The line of each key, item and value.
    pub lines: Lines,
}

/// A line of a file, as editors write it: `manifests/web.yaml:12`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's path as passed to the parser.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Lines of a document's parts by JSON pointer (RFC 6901): `/spec/ports/0/port`. A mapping's entry has the line of its
/// key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Returns the line of the part at the pointer, or of its nearest existing parent.
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
    /// Returns the place of the part at the pointer, or of its nearest existing parent.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> Place {
        Place { file: self.place.file.clone(), line: self.lines.of(pointer) }
    }
}

/// Error reading a manifest.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file or directory cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file or directory.
        file: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// The text is not valid YAML, or has no equivalent in JSON.
    #[error("{place}: {why}")]
    Syntax {
        /// File and line.
        place: Place,
        /// The parser's message.
        why: String,
    },
}

impl ManifestError {
    /// Returns a suggested fix, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Syntax { place, .. } => {
                Some(format!("fix {}, or move it out of the directory", place.file.display()))
            }
        }
    }
}

/// Returns the documents of a file's text, without empty ones.
///
/// # Errors
/// The first invalid YAML, duplicate key, or value without an equivalent in JSON.
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
