//! Consent to what cannot be undone.

use std::sync::Arc;

use crate::failure::Failure;

/// Request for consent.
#[derive(Clone, Debug)]
pub struct Question {
    /// The question, with the answer that it expects.
    pub text: String,
    /// The answers that give consent.
    pub accepted: Vec<String>,
    /// The consequence in words, for an environment without a terminal.
    pub consequence: String,
}

impl Question {
    /// A question that `y` or `yes` answers.
    pub(crate) fn yes_or_no(text: &str, consequence: String) -> Self {
        let accepted = ["y", "Y", "yes"].map(str::to_owned).to_vec();
        Self { text: format!("{text} [y/N]"), accepted, consequence }
    }
}

/// Answer to a question: an error ends the operation.
type Answer = dyn Fn(&Question) -> Result<(), Failure> + Send + Sync;

/// Source of consent. Cheap to clone; callable from any thread.
#[derive(Clone)]
pub struct Consent(Arc<Answer>);

impl Consent {
    /// Consent by a function, whose failure ends the operation.
    pub fn new(answer: impl Fn(&Question) -> Result<(), Failure> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// Consent that was given beforehand.
    #[must_use]
    pub fn given() -> Self {
        Self::new(|_| Ok(()))
    }

    /// Asks for consent.
    pub(crate) fn ask(&self, question: &Question) -> Result<(), Failure> {
        (self.0)(question)
    }
}
