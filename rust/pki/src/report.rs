//! Reports on certificates for `certs list` and `certs show`.

use std::{fmt, fmt::Write as _, path::PathBuf};

use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    AuthoritySpec, Certificate, CertificateSpec, ExtendedUsage, Holder, KeyId, KeyPairSpec, KeyUsage, Reason, San,
    Step, Survey, rotation, spec::join,
};

/// One line of `certs list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The certificate's name.
    pub name: String,
    /// The signing authority. An authority signs itself; a key pair has none.
    pub authority: String,
    /// The node that holds it. `None` for authorities and operators' certificates.
    pub node: Option<String>,
    /// The end of its validity. `None` without a certificate.
    #[serde(with = "time::serde::rfc3339::option")]
    pub not_after: Option<OffsetDateTime>,
    /// Full days until then, rounded down; negative afterwards.
    pub days_left: Option<i64>,
    /// The worst state that applies.
    pub state: State,
    /// The reasons for the state. Empty for [`State::Ok`].
    pub because: String,
    /// The certificate's file, relative to the certificates' directory.
    pub file: PathBuf,
}

/// State of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As in the table.
    Ok,
    /// Due for renewal: less than a third of its validity is left, or a renewal was requested.
    Renew,
    /// Different from the table, or with another authority or key.
    Drifted,
    /// Its validity is over.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// The certificate or its key is missing.
    Missing,
    /// Not in the table: its machine is removed, disabled, or has another role.
    Orphan,
    /// A problem blocks any change to it.
    Refused,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Ok => "ok",
            Self::Renew => "renew",
            Self::Drifted => "drifted",
            Self::Expired => "expired",
            Self::NotYetValid => "not yet valid",
            Self::Missing => "missing",
            Self::Orphan => "orphan",
            Self::Refused => "refused",
        })
    }
}

impl State {
    pub(crate) fn of(step: &Step) -> Self {
        match step {
            Step::Keep => Self::Ok,
            Step::Refuse => Self::Refused,
            // The worst of the reasons, in the order above.
            Step::Issue(reasons) | Step::Renew(reasons) => {
                reasons.iter().map(Self::of_reason).max().unwrap_or(Self::Ok)
            }
        }
    }

    const fn of_reason(reason: &Reason) -> Self {
        match reason {
            Reason::Missing | Reason::NoCertificate | Reason::NoPublicHalf | Reason::NoKey => Self::Missing,
            Reason::Expired { .. } => Self::Expired,
            Reason::NotYetValid { .. } => Self::NotYetValid,
            Reason::Due { .. } | Reason::Requested => Self::Renew,
            _ => Self::Drifted,
        }
    }
}

/// Returns all certificates of the survey: authorities, then leaves by name, then key pairs, then orphans by file.
#[must_use]
pub fn list(survey: &Survey) -> Vec<Row> {
    // The plan's actions are in the table's order.
    let rows = specs(survey)
        .zip(&survey.plan.actions)
        .map(|(spec, action)| row(survey, spec, State::of(&action.step), because(survey, spec, &action.step)));
    let orphans = survey.plan.orphans.iter().filter_map(|file| {
        let certificate = survey.tree.certificate(file)?;
        Some(Row {
            name: file.with_extension("").display().to_string(),
            authority: certificate.issuer.clone(),
            node: None,
            not_after: Some(certificate.not_after),
            days_left: Some(certificate.days_left(survey.now)),
            state: State::Orphan,
            because: "no machine of the cluster needs it".to_owned(),
            file: file.clone(),
        })
    });
    rows.chain(orphans).collect()
}

/// A row of the table, of any type.
#[derive(Clone, Copy)]
enum Spec<'a> {
    Authority(&'a AuthoritySpec),
    Leaf(&'a CertificateSpec),
    KeyPair(&'a KeyPairSpec),
}

impl<'a> Spec<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Authority(spec) => &spec.name,
            Self::Leaf(spec) => &spec.name,
            Self::KeyPair(spec) => &spec.name,
        }
    }

    fn files(self) -> &'a crate::Files {
        match self {
            Self::Authority(spec) => &spec.files,
            Self::Leaf(spec) => &spec.files,
            Self::KeyPair(spec) => &spec.files,
        }
    }

    fn authority(self) -> String {
        match self {
            Self::Authority(spec) => spec.authority.to_string(),
            Self::Leaf(spec) => spec.authority.to_string(),
            Self::KeyPair(_) => "-".to_owned(),
        }
    }

    fn node(self) -> Option<String> {
        match self {
            Self::Leaf(CertificateSpec { holder: Holder::Node(node), .. }) => Some(node.to_string()),
            _ => None,
        }
    }

    fn consumer(self) -> &'a str {
        match self {
            Self::Authority(spec) => &spec.consumer,
            Self::Leaf(spec) => &spec.consumer,
            Self::KeyPair(spec) => &spec.consumer,
        }
    }
}

fn specs(survey: &Survey) -> impl Iterator<Item = Spec<'_>> {
    let authorities = survey.table.authorities.iter().map(Spec::Authority);
    let leaves = survey.table.certificates.iter().map(Spec::Leaf);
    authorities.chain(leaves).chain(survey.table.key_pairs.iter().map(Spec::KeyPair))
}

fn row(survey: &Survey, spec: Spec<'_>, state: State, because: String) -> Row {
    let certificate = survey.tree.certificate(&spec.files().certificate);
    Row {
        name: spec.name().to_owned(),
        authority: spec.authority(),
        node: spec.node(),
        not_after: certificate.map(|certificate| certificate.not_after),
        days_left: certificate.map(|certificate| certificate.days_left(survey.now)),
        state,
        because,
        file: spec.files().certificate.clone(),
    }
}

fn because(survey: &Survey, spec: Spec<'_>, step: &Step) -> String {
    if *step != Step::Refuse {
        let because = step.because();
        return match rotation::notice_of(&survey.table, &survey.tree, spec.name()) {
            Some(notice) if because.is_empty() => notice,
            _ => because,
        };
    }
    let files = spec.files();
    let about = |subject: &str| [&files.certificate, &files.key].iter().any(|file| file.as_os_str() == subject);
    let mine = survey.plan.problems.iter().find(|problem| about(&problem.subject));
    mine.map_or_else(|| "its authority cannot sign".to_owned(), |problem| problem.what.clone())
}

/// Details of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Details {
    /// The certificate's name.
    pub name: String,
    /// The worst state that applies.
    pub state: State,
    /// The reasons for the state. Empty for [`State::Ok`].
    pub because: String,
    /// The node that holds it. `None` for authorities and operators' certificates.
    pub node: Option<String>,
    /// The program or NixOS option that uses it.
    pub consumer: String,
    /// The certificate's file, relative to the certificates' directory.
    pub file: PathBuf,
    /// The file of its encrypted private key, relative to the certificates' directory.
    pub key_file: PathBuf,
    /// The fields of the certificate.
    pub content: Content,
}

/// Fields of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Content {
    /// The subject, a distinguished name as text.
    pub subject: String,
    /// The issuer, a distinguished name as text.
    pub issuer: String,
    /// The subject alternative names.
    pub sans: Vec<San>,
    /// The extended key usages.
    pub extended_usages: Vec<ExtendedUsage>,
    /// The key usages.
    pub usages: Vec<KeyUsage>,
    /// True if it may sign others.
    pub is_authority: bool,
    /// The start of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// The end of its validity.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Full days until then, rounded down; negative afterwards.
    pub days_left: i64,
    /// The serial number, hexadecimal octets separated by colons.
    pub serial: String,
    /// The algorithm of its public key, such as `ECDSA P-256`.
    pub algorithm: String,
    /// The id of its public key.
    pub key_id: KeyId,
}

/// Reason why a certificate cannot be shown.
#[allow(
    missing_docs,
    reason = "`name` is the certificate's name, `because` the reason of its state, `file` the path of the public half"
)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// No row has this name.
    #[error("no certificate named `{0}`")]
    Unknown(String),
    /// The row has no certificate yet.
    #[error("the certificate `{name}` does not exist yet: {because}")]
    Missing { name: String, because: String },
    /// The row is a key pair.
    #[error("`{name}` is a key pair without a certificate; its public half is {}", .file.display())]
    KeyPair { name: String, file: PathBuf },
}

impl ShowError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => "`machinist certs list` lists all names".to_owned(),
            Self::Missing { .. } => "`machinist certs gen` issues missing certificates".to_owned(),
            Self::KeyPair { file, .. } => {
                format!("`openssl pkey -pubin -in {} -noout -text` shows it", file.display())
            }
        })
    }
}

/// Returns the details of the certificate with that name.
///
/// # Errors
/// The name is unknown, or the certificate does not exist yet.
pub fn show(survey: &Survey, name: &str) -> Result<Details, ShowError> {
    let spec = specs(survey).find(|spec| spec.name() == name).ok_or_else(|| ShowError::Unknown(name.to_owned()))?;
    let step = survey.plan.action(name).map_or(&Step::Refuse, |action| &action.step);
    let because = because(survey, spec, step);
    if survey.tree.public_key(&spec.files().certificate).is_some() {
        return Err(ShowError::KeyPair { name: name.to_owned(), file: survey.certs.join(&spec.files().certificate) });
    }
    let Some(certificate) = survey.tree.certificate(&spec.files().certificate) else {
        return Err(ShowError::Missing { name: name.to_owned(), because });
    };
    Ok(Details {
        name: name.to_owned(),
        state: State::of(step),
        because,
        node: spec.node(),
        consumer: spec.consumer().to_owned(),
        file: survey.certs.join(&spec.files().certificate),
        key_file: survey.certs.join(&spec.files().key),
        content: Content::of(certificate, survey.now),
    })
}

impl Content {
    /// Returns the fields of the certificate, which need not belong to a cluster.
    #[must_use]
    pub fn of(certificate: &Certificate, now: OffsetDateTime) -> Self {
        Self {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            sans: certificate.sans.iter().cloned().collect(),
            extended_usages: certificate.extended_usages.iter().cloned().collect(),
            usages: certificate.usages.iter().copied().collect(),
            is_authority: certificate.is_authority,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            days_left: certificate.days_left(now),
            serial: certificate.serial.clone(),
            algorithm: certificate.algorithm.clone(),
            key_id: certificate.key_id.clone(),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
        let mut lines = String::new();
        for (label, value) in [
            ("subject", self.subject.clone()),
            ("issuer", self.issuer.clone()),
            ("names", or_none(join(&self.sans))),
            ("ext. usage", or_none(join(&self.extended_usages))),
            ("usage", or_none(join(&self.usages))),
            ("authority", if self.is_authority { "yes" } else { "no" }.to_owned()),
            ("valid from", second(self.not_before)),
            ("valid until", format!("{} ({} days left)", second(self.not_after), self.days_left)),
            ("serial", self.serial.clone()),
            ("key", format!("{}, id {}", self.algorithm, self.key_id)),
        ] {
            // A name in a certificate may contain anything, and must not look like the next line.
            writeln!(lines, "{label:<12} {}", machinist_text::one_line(&value))?;
        }
        formatter.write_str(lines.trim_end())
    }
}

impl fmt::Display for Details {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = if self.because.is_empty() { String::new() } else { format!(": {}", self.because) };
        writeln!(formatter, "{:<12} {}", "name", self.name)?;
        writeln!(formatter, "{:<12} {}{because}", "state", self.state)?;
        if let Some(node) = &self.node {
            writeln!(formatter, "{:<12} {node}", "node")?;
        }
        writeln!(formatter, "{:<12} {}", "used by", self.consumer)?;
        writeln!(formatter, "{}", self.content)?;
        writeln!(formatter, "{:<12} {}", "file", self.file.display())?;
        write!(formatter, "{:<12} {}", "private key", self.key_file.display())
    }
}

fn second(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02}:{:02} UTC", time.date(), time.hour(), time.minute(), time.second())
}
