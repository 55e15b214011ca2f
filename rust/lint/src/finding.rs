//! Findings of the linter.

use machinist_kubernetes::manifest::Place;
use serde::{Serialize, Serializer};

/// A problem in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name, such as `ingress-port`.
    pub rule: &'static str,
    /// Severity of the problem.
    pub severity: Severity,
    /// File and line.
    #[serde(serialize_with = "as_text")]
    pub place: Place,
    /// Description of the problem.
    pub message: String,
    /// Suggested fix, in the imperative.
    pub hint: Option<String>,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// An API server would reject it, or it cannot work.
    Error,
    /// It works now, but not in every situation or not in later versions.
    Warning,
}

impl Finding {
    /// Adds a suggested fix.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

fn as_text<S: Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(place)
}
