//! Reasons to issue or renew a certificate.

use std::{collections::BTreeSet, fmt};

use time::{Date, OffsetDateTime};

use crate::{Authority, ExtendedUsage, KeyId, KeyUsage, San, spec::join};

/// A reason to issue or renew a certificate. `Display` gives the text for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Both the certificate and the key are missing.
    Missing,
    /// Only the key exists.
    NoCertificate,
    /// Only the private half of a key pair exists.
    NoPublicHalf,
    /// Only the certificate exists.
    NoKey,
    /// The key file names another public key.
    ForeignKey {
        /// The public key named by the key file.
        found: KeyId,
        /// The public key of the certificate.
        wanted: KeyId,
    },
    /// Another authority signed it.
    Signer {
        /// The authority of the row.
        wanted: Authority,
        /// The issuer's name, if it differs from the authority's; the key differs in any case.
        issuer: Option<String>,
    },
    /// The authority is created in this run.
    NewAuthority(Authority),
    /// The CN differs.
    CommonName {
        /// The CN of the certificate.
        found: Option<String>,
        /// The CN of the row.
        wanted: String,
    },
    /// The O differs.
    Organization {
        /// The Os of the certificate.
        found: Vec<String>,
        /// The O of the row.
        wanted: Option<String>,
    },
    /// The set of SANs differs.
    Sans {
        /// SANs that the certificate is missing.
        added: BTreeSet<San>,
        /// SANs that only the certificate has.
        removed: BTreeSet<San>,
    },
    /// The machine has another SSH host key.
    HostKey {
        /// The fingerprint of the machine's key.
        wanted: String,
    },
    /// The set of names that a host certificate is valid for differs.
    HostNames {
        /// Names that the certificate is missing.
        added: BTreeSet<String>,
        /// Names that only the certificate has.
        removed: BTreeSet<String>,
    },
    /// The extended key usages differ.
    ExtendedUsages {
        /// The usages of the certificate.
        found: BTreeSet<ExtendedUsage>,
        /// The usages of the row.
        wanted: BTreeSet<ExtendedUsage>,
    },
    /// The key usages differ.
    Usages {
        /// The usages of the certificate.
        found: BTreeSet<KeyUsage>,
        /// The usages of the row.
        wanted: BTreeSet<KeyUsage>,
    },
    /// A leaf that could sign other certificates.
    IsAuthority,
    /// The validity is over.
    Expired {
        /// Full days since the end.
        days: i64,
    },
    /// The validity has not begun.
    NotYetValid {
        /// The start of the validity.
        from: OffsetDateTime,
    },
    /// Less than a third of the validity is left.
    Due {
        /// Full days left.
        days: i64,
        /// Full days of the complete validity.
        life: i64,
    },
    /// Requested by the user.
    Requested,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => formatter.write_str("missing"),
            Self::NoCertificate => formatter.write_str("the certificate is missing"),
            Self::NoPublicHalf => formatter.write_str("the public half is missing"),
            Self::NoKey => formatter.write_str("the private key is missing"),
            Self::ForeignKey { found, wanted } => {
                write!(formatter, "the private key is that of {found}, the certificate that of {wanted}")
            }
            Self::Signer { wanted, issuer: Some(issuer) } => {
                write!(formatter, "signed by `{issuer}` instead of the {wanted} authority")
            }
            Self::Signer { wanted, issuer: None } => {
                write!(formatter, "signed by a key other than the {wanted} authority's")
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
            Self::HostKey { wanted } => write!(formatter, "the host key is {wanted}"),
            Self::HostNames { added, removed } => {
                let added = added.iter().map(|name| format!(" +{name}"));
                let removed = removed.iter().map(|name| format!(" -{name}"));
                write!(formatter, "names differ:{}", added.chain(removed).collect::<String>())
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
            Self::Requested => formatter.write_str("requested"),
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
