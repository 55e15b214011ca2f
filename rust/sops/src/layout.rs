//! The places of a file's values: what an edit replaces, and nothing else.

use std::{fmt, ops::Range};

use thiserror::Error;

use crate::value::Plain;

/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// The most values and comments that are read.
pub const MAX_LEAVES: usize = 1 << 16;
/// The most comments that are read.
pub const MAX_COMMENTS: usize = 1 << 11;
/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;

/// The key of the metadata.
pub const METADATA: &str = "sops";

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The key of a map.
    Key(String),
    /// The position in a list, from 0.
    Index(usize),
}

impl Step {
    /// Returns the step to a key.
    pub fn key(name: impl Into<String>) -> Self {
        Self::Key(name.into())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => formatter.write_str(name),
            Self::Index(at) => write!(formatter, "{at}"),
        }
    }
}

/// Returns a path in readable form, `a/b/0`.
#[must_use]
pub fn display(path: &[Step]) -> String {
    path.iter().map(ToString::to_string).collect::<Vec<_>>().join("/")
}

/// Returns the place that a value is bound to: the keys of its path, each with a colon. The empty path is one colon.
#[must_use]
pub fn place(path: &[Step]) -> String {
    let keys: Vec<&str> = path
        .iter()
        .filter_map(|step| match step {
            Step::Key(name) => Some(name.as_str()),
            Step::Index(_) => None,
        })
        .collect();
    format!("{}:", keys.join(":"))
}

/// What a leaf is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value, as it is in the file.
    Value(Plain),
    /// Nothing: not encrypted, and not part of the checksum.
    Null,
    /// A comment without its mark, and the paths that it may be bound to, the most likely first.
    Comment(Plain, Vec<Vec<Step>>),
}

/// How the text of a leaf is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// In a YAML block, whose keys are in this column.
    Block {
        /// Column of the keys, from 0.
        column: usize,
    },
    /// A YAML value that is missing: a space goes before the new one.
    Missing {
        /// Column of the keys, from 0.
        column: usize,
    },
    /// Inside brackets of YAML.
    Flow,
    /// JSON.
    Json,
    /// The rest of a line of a dotenv file.
    Dotenv,
    /// The rest of a line of an INI file.
    Ini,
    /// A comment's text.
    Comment,
}

/// A value or comment of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Path of the value, or of the container of a comment.
    pub path: Vec<Step>,
    /// The value.
    pub content: Content,
    /// The bytes that a new value replaces, with quotes.
    pub span: Range<usize>,
    /// How it is written.
    pub style: Style,
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: Vec<Step>,
    /// The bytes that its removal removes, or the reason why it cannot be removed.
    pub span: Result<Range<usize>, &'static str>,
}

/// A map into which a key can be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Its path.
    pub path: Vec<Step>,
    /// Where a new entry is inserted, or the reason why none can be.
    pub gap: Result<Gap, &'static str>,
}

/// A place for a new entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The byte before which it goes.
    pub at: usize,
    /// What goes before it, such as the indentation.
    pub before: String,
    /// What goes after it, such as the end of a line.
    pub after: String,
    /// Column of the keys in YAML.
    pub column: usize,
}

/// The places of a file's values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Values and comments, those of the metadata too.
    pub leaves: Vec<Leaf>,
    /// Entries of maps.
    pub entries: Vec<Entry>,
    /// Maps.
    pub maps: Vec<Map>,
    /// The text of the metadata: whole lines, or a member of JSON without its comma.
    pub metadata: Option<Range<usize>>,
}

/// Reason why the text could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct LayoutError {
    /// The line, from 1.
    pub line: usize,
    /// The reason, without the text of the line, which may be a secret.
    pub why: String,
}

impl LayoutError {
    /// Returns the error at this byte of the text.
    pub(crate) fn at(text: &str, byte: usize, why: impl Into<String>) -> Self {
        let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
        Self { line: 1 + before.iter().filter(|byte| **byte == b'\n').count(), why: why.into() }
    }
}

impl Layout {
    /// Returns the leaf of a value.
    #[must_use]
    pub fn value(&self, path: &[Step]) -> Option<&Leaf> {
        self.leaves.iter().find(|leaf| leaf.path == path && !matches!(leaf.content, Content::Comment(..)))
    }

    /// Returns true if the leaf is a part of the metadata.
    #[must_use]
    pub fn is_metadata(leaf: &Leaf) -> bool {
        leaf.path.first() == Some(&Step::key(METADATA))
    }

    /// Returns the place for a new key of a map.
    #[must_use]
    pub fn map(&self, path: &[Step]) -> Option<&Map> {
        self.maps.iter().find(|map| map.path == path)
    }

    /// Returns true if something is at or below the path.
    #[must_use]
    pub fn has(&self, path: &[Step]) -> bool {
        self.entries.iter().any(|entry| entry.path == path)
    }
}

/// Returns the text with spans replaced. The spans do not overlap.
#[must_use]
pub fn replaced(text: &str, mut changes: Vec<(Range<usize>, String)>) -> String {
    changes.sort_by_key(|(span, _)| span.start);
    let mut result = String::with_capacity(text.len() * 2);
    let mut from = 0;
    for (span, new) in changes {
        result.push_str(text.get(from..span.start).unwrap_or_default());
        result.push_str(&new);
        from = span.end;
    }
    result.push_str(text.get(from..).unwrap_or_default());
    result
}
