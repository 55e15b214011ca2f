//! What decoding and checks have to say, before it is placed in the source.

use std::collections::BTreeSet;

use crate::{codes::Code, path::AttrPath};

/// One thing that is wrong, by path. Becomes a [`Diagnostic`](crate::Diagnostic).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub code: Code,
    pub path: AttrPath,
    pub message: String,
    pub why: String,
    pub help: Option<String>,
    pub related: Vec<(AttrPath, String)>,
    /// Whether the paths are as the file spells them, not as today's shape does.
    pub is_as_written: bool,
}

impl Finding {
    /// A finding: what is wrong at the path, and why that matters.
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

    /// Says that the paths are as the file spells them.
    pub fn in_own_words(mut self) -> Self {
        self.is_as_written = true;
        self
    }

    /// Adds what to write instead.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to write instead, where that is known.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Adds another place that is concerned.
    pub fn related(mut self, path: AttrPath, message: impl Into<String>) -> Self {
        self.related.push((path, message.into()));
        self
    }
}

/// All findings of a file, and the attributes of which nothing more can be said.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub findings: Vec<Finding>,
    broken: BTreeSet<AttrPath>,
}

impl Report {
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Notes that the attribute could not be read, so that no check complains that it is missing.
    pub fn mark_broken(&mut self, path: AttrPath) {
        self.broken.insert(path);
    }

    /// Whether the attribute, or a set around it, could not be read.
    pub fn is_broken(&self, path: &AttrPath) -> bool {
        !self.broken.is_empty()
            && std::iter::successors(Some(path.clone()), AttrPath::parent).any(|path| self.broken.contains(&path))
    }

    /// Whether any of these attributes, or a whole machine, could not be read: what is counted over all machines would
    /// be wrong.
    pub fn is_count_unreliable(&self, attributes: &[&str]) -> bool {
        self.broken.iter().any(|path| {
            let is_machine = path.segments().len() <= 2 && path.segments().first() == Some(&"machines".into());
            is_machine || path.attribute().is_some_and(|attribute| attributes.contains(&attribute))
        })
    }

    /// Whether a finding prevents further work.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.code.is_error())
    }
}
