//! Consent to irreversible actions.

use std::sync::Arc;

use crate::failure::Failure;

/// Description of an irreversible action.
#[derive(Clone, Debug)]
pub struct Question {
    /// Question, with the expected answer.
    pub text: String,
    /// Answers that give consent.
    pub accepted: Vec<String>,
    /// Description of the action, for the error message if no terminal is available.
    pub consequence: String,
}

impl Question {
    /// Creates a question with the accepted answers `y` and `yes`.
    pub(crate) fn yes_or_no(text: &str, consequence: String) -> Self {
        let accepted = ["y", "Y", "yes"].map(str::to_owned).to_vec();
        Self { text: format!("{text} [y/N]"), accepted, consequence }
    }
}

/// Answer to a question; an error ends the operation.
type Answer = dyn Fn(&Question) -> Result<(), Failure> + Send + Sync;

/// Source of consent. Cheap to clone; callable from any thread.
#[derive(Clone)]
pub struct Consent(Arc<Answer>);

impl Consent {
    /// Obtains consent from a function, whose failure ends the operation.
    pub fn new(answer: impl Fn(&Question) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// Grants consent in advance.
    #[must_use]
    pub fn given() -> Self {
        Self::new(|_| Ok(()))
    }

    /// Requests consent.
    pub(crate) fn ask(&self, question: &Question) -> Result<(), Failure> {
        (self.0)(question)
    }
}
