//! Problems and notices of certificates.

use serde::Serialize;

/// A problem that blocks the run until the operator fixes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, relative to the certificates' directory, or the name of a certificate.
    pub subject: String,
    /// The problem: one sentence, lower case.
    pub what: String,
    /// The hint: a command or an edit.
    pub hint: String,
}

/// A notice, which blocks nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The certificate's name.
    pub subject: String,
    /// The notice: one sentence, lower case.
    pub what: String,
}
