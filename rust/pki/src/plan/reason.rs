//! Why a certificate is issued or renewed, in words for people.

use std::{collections::BTreeSet, fmt};

use time::{Date, OffsetDateTime};

use crate::{Authority, ExtendedUsage, KeyId, KeyUsage, San, spec::join};

/// One reason to issue or renew a certificate. `Display` says it to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Neither the certificate nor the key is there.
    Missing,
    /// Only the key is there.
    NoCertificate,
    /// Only the private half of a key pair is there.
    NoPublicHalf,
    /// Only the certificate is there.
    NoKey,
    /// The file of the key names another public key.
    ForeignKey {
        /// The public key of the file of the key.
        found: KeyId,
        /// The public key of the certificate.
        wanted: KeyId,
    },
    /// Another authority signed it.
    Signer {
        /// Who should have signed it.
        wanted: Authority,
        /// The issuer that it names, if that is another name than the authority's: the key is another in any case.
        issuer: Option<String>,
    },
    /// The authority is made anew in this run.
    NewAuthority(Authority),
    /// Another CN.
    CommonName {
        /// What it has.
        found: Option<String>,
        /// What it should have.
        wanted: String,
    },
    /// Another O.
    Organization {
        /// What it has.
        found: Vec<String>,
        /// What it should have.
        wanted: Option<String>,
    },
    /// Another set of SANs.
    Sans {
        /// What it lacks.
        added: BTreeSet<San>,
        /// What it has too much.
        removed: BTreeSet<San>,
    },
    /// Other extended key usages.
    ExtendedUsages {
        /// What it has.
        found: BTreeSet<ExtendedUsage>,
        /// What it should have.
        wanted: BTreeSet<ExtendedUsage>,
    },
    /// Other key usages.
    Usages {
        /// What it has.
        found: BTreeSet<KeyUsage>,
        /// What it should have.
        wanted: BTreeSet<KeyUsage>,
    },
    /// It could sign other certificates.
    IsAuthority,
    /// Its life is over.
    Expired {
        /// Days since then.
        days: i64,
    },
    /// Its life has not begun.
    NotYetValid {
        /// When it begins.
        from: OffsetDateTime,
    },
    /// Less than a third of its life is left.
    Due {
        /// Days left.
        days: i64,
        /// Days of its whole life.
        life: i64,
    },
    /// Somebody asked for it.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("missing"),
            Self::NoCertificate => formatter.write_str("the certificate is missing"),
            Self::NoPublicHalf => formatter.write_str("the public half is missing"),
            Self::NoKey => formatter.write_str("the private key is missing"),
            Self::ForeignKey { found, wanted } => {
                write!(formatter, "the private key is of {found}, the certificate of {wanted}")
            }
            Self::Signer { wanted, issuer: Some(issuer) } => {
                write!(formatter, "not signed by the {wanted} authority but by `{issuer}`")
            }
            Self::Signer { wanted, issuer: None } => {
                write!(formatter, "signed by another key than the {wanted} authority's")
            }
            Self::NewAuthority(authority) => write!(formatter, "the {authority} authority is new"),
            Self::CommonName { found, wanted } => {
                write!(formatter, "CN is {}, not `{wanted}`", quoted(found.as_ref()))
            }
            Self::Organization { found, wanted } => {
                write!(formatter, "O is {}, not {}", quoted(found), quoted(wanted))
            }
            Self::Sans { added, removed } => {
                let added = added.iter().map(|san| format!(" +{san}"));
                let removed = removed.iter().map(|san| format!(" -{san}"));
                write!(formatter, "SANs differ:{}", added.chain(removed).collect::<String>())
            }
            Self::ExtendedUsages { found, wanted } => {
                write!(formatter, "extended key usage is {}, not {}", or_none(join(found)), or_none(join(wanted)))
            }
            Self::Usages { found, wanted } => {
                write!(formatter, "key usage is {}, not {}", or_none(join(found)), or_none(join(wanted)))
            }
            Self::IsAuthority => formatter.write_str("it could sign other certificates"),
            Self::Expired { days: 0 } => formatter.write_str("expired today"),
            Self::Expired { days } => write!(formatter, "expired {} ago", count(*days)),
            Self::NotYetValid { from } => write!(formatter, "not valid before {}", day(*from)),
            Self::Due { days, life } => {
                write!(formatter, "{} left of {life}, less than a third", count(*days))
            }
            Self::Asked => formatter.write_str("asked for"),
        }
    }
}

fn quoted<'a>(values: impl IntoIterator<Item = &'a String>) -> String {
    or_none(join(values.into_iter().map(|value| format!("`{value}`"))))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

pub(crate) fn count(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

pub(crate) fn day(time: OffsetDateTime) -> Date {
    time.date()
}
