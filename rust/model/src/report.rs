//! Findings of decoding and checks, before they are located in the source.

use std::collections::BTreeSet;

use crate::{codes::Code, path::AttrPath};

/// A problem at a path. Becomes a [`Diagnostic`](crate::Diagnostic).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub code: Code,
    pub path: AttrPath,
    pub message: String,
    pub why: String,
    pub help: Option<String>,
    pub related: Vec<(AttrPath, String)>,
    /// True if the paths are spelled as in the file; false if as in the sectioned shape.
    pub is_as_written: bool,
}

impl Finding {
    /// Returns a finding: the problem at the path, and why it matters.
    pub fn new(code: Code, path: AttrPath, message: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            code,
            path,
            message: message.into(),
            why: why.into(),
            help: None,
            related: Vec::new(),
            is_as_written: false,
        }
    }

    /// Declares that the paths are spelled as in the file.
    pub fn in_own_words(mut self) -> Self {
        self.is_as_written = true;
        self
    }

    /// Adds the help: what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the help, if there is one.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Adds another place that is involved.
    pub fn related(mut self, path: AttrPath, message: impl Into<String>) -> Self {
        self.related.push((path, message.into()));
        self
    }
}

/// All findings of a file, and the attributes that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub findings: Vec<Finding>,
    broken: BTreeSet<AttrPath>,
}

impl Report {
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Marks the attribute as unreadable, so that no check reports it as missing.
    pub fn mark_broken(&mut self, path: AttrPath) {
        self.broken.insert(path);
    }

    /// Returns true if the attribute, or a set around it, could not be read.
    pub fn is_broken(&self, path: &AttrPath) -> bool {
        !self.broken.is_empty()
            && std::iter::successors(Some(path.clone()), AttrPath::parent).any(|path| self.broken.contains(&path))
    }

    /// Returns true if any of these attributes, or a complete machine, could not be read: counts over all machines
    /// would be wrong.
    pub fn is_count_unreliable(&self, attributes: &[&str]) -> bool {
        self.broken.iter().any(|path| {
            let is_machine = path.segments().len() <= 2 && path.segments().first() == Some(&"machines".into());
            is_machine || path.attribute().is_some_and(|attribute| attributes.contains(&attribute))
        })
    }

    /// Returns true if a finding prevents further work.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.code.is_error())
    }
}
