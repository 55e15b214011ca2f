//! Problems and notices of certificates, for a person.

use serde::Serialize;

/// Why nothing may be done. A person has to act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, relative to the certificates' directory, or the name of a certificate.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// Something to know that forbids nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The certificate's name.
    pub subject: String,
    /// What to know.
    pub what: String,
}
