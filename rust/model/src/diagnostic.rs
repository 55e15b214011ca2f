//! Problems of a machines.nix with their positions: data that the command line renders or prints as JSON.

use std::{fmt, sync::Arc};

use miette::{LabeledSpan, SourceCode, SourceSpan};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    codes::{Code, Severity},
    path::AttrPath,
    source::SourceText,
};

/// A problem of a machines.nix.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The check that reported it; `machinist explain` describes it.
    pub code: Code,
    /// The severity of the check.
    pub severity: Severity,
    /// The attribute concerned, as the file spells it.
    pub path: AttrPath,
    /// The problem: one sentence without its full stop, lower case.
    pub message: String,
    /// The reason why it matters: one sentence.
    pub why: String,
    /// The help: an edit of machines.nix.
    pub help: Option<String>,
    /// The attribute in the source, or the nearest enclosing one that the source spells out. In bytes.
    pub span: Option<SourceSpan>,
    /// Other places concerned, such as the first use of an address that is used twice.
    pub related: Vec<Related>,
    /// The file; private keys in it are masked.
    pub source: Arc<SourceText>,
}

/// Another place that a diagnostic is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The attribute, as the file spells it.
    pub path: AttrPath,
    /// The content of this place, a noun phrase.
    pub message: String,
    /// Its position, in bytes.
    pub span: SourceSpan,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.segments().is_empty() {
            write!(formatter, "{}", self.message)
        } else {
            write!(formatter, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        // Without a source line for the reason, it is added to the help.
        let help = self.help.as_deref();
        match (self.span, help) {
            (Some(_), help) => help.map(|help| Box::new(help) as _),
            (None, Some(help)) => Some(Box::new(format!("{}; {help}", self.why))),
            (None, None) => Some(Box::new(self.why.as_str())),
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.span.map(|_| &*self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span?;
        let primary = LabeledSpan::new_primary_with_span(Some(self.why.clone()), span);
        let others = self.related.iter().filter(move |related| related.span != span);
        let others = others.map(|related| LabeledSpan::new_with_span(Some(related.message.clone()), related.span));
        Some(Box::new(std::iter::once(primary).chain(others)))
    }
}

/// As data: `code`, `severity`, `path`, `message`, `why`, `help`, `file`, `line`, `column` and `related`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let position = self.span.map(|span| self.source.position(span.offset()));
        let related: Vec<_> = self.related.iter().map(|related| RelatedAsData::new(related, &self.source)).collect();
        let mut data = serializer.serialize_struct("Diagnostic", 10)?;
        data.serialize_field("code", &self.code)?;
        data.serialize_field("severity", &self.severity)?;
        data.serialize_field("path", &self.path)?;
        data.serialize_field("message", &self.message)?;
        data.serialize_field("why", &self.why)?;
        data.serialize_field("help", &self.help)?;
        data.serialize_field("file", self.source.name())?;
        data.serialize_field("line", &position.map(|position| position.line))?;
        data.serialize_field("column", &position.map(|position| position.column))?;
        data.serialize_field("related", &related)?;
        data.end()
    }
}

#[derive(Serialize)]
struct RelatedAsData<'a> {
    path: &'a AttrPath,
    message: &'a str,
    line: usize,
    column: usize,
}

impl<'a> RelatedAsData<'a> {
    fn new(related: &'a Related, source: &SourceText) -> Self {
        let position = source.position(related.span.offset());
        Self { path: &related.path, message: &related.message, line: position.line, column: position.column }
    }
}
