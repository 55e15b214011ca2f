//! Plan of what to keep, issue and renew, with reasons. Pure: the table, the tree and the clock in, the plan out.

mod authority;
mod key_pair;
mod leaf;
mod reason;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};
use time::{Duration, OffsetDateTime};

use crate::{
    Authority, Entry, KeyAlgorithm, Table, Tree,
    problem::{Notice, Problem},
    rotation::{self, Subject},
    spec::join,
    ssh,
};

pub(crate) use leaf::age;
pub use reason::Reason;
pub(crate) use reason::count;

/// Settings for issuing certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The validity of a new leaf certificate.
    pub leaf_life: Duration,
    /// The validity of a new authority.
    pub authority_life: Duration,
    /// The algorithm of new keys.
    pub algorithm: KeyAlgorithm,
    /// Certificates to renew besides those that are due.
    pub renewal: Renewal,
    /// True to remove certificates that the table no longer has. Authorities and shared key pairs are never removed.
    pub prune: bool,
}

impl Default for Policy {
    /// One year for a leaf, ten for an authority, ECDSA P-256.
    fn default() -> Self {
        Self {
            leaf_life: Duration::days(365),
            authority_life: Duration::days(3650),
            algorithm: KeyAlgorithm::default(),
            renewal: Renewal::Due,
            prune: false,
        }
    }
}

/// Selection of leaf certificates to renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Those that are due: drifted, expired, or with less than a third of their validity left.
    Due,
    /// Those that are due, and these, by name.
    Named(BTreeSet<String>),
    /// All leaf certificates.
    All,
}

impl Renewal {
    pub(crate) fn includes(&self, name: &str) -> bool {
        match self {
            Self::Due => false,
            Self::Named(names) => names.contains(name),
            Self::All => true,
        }
    }
}

/// The actions of an update, computed before anything is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One action per row of the table: authorities first, then leaves, then key pairs, each sorted by name.
    pub actions: Vec<Action>,
    /// Problems that block every action.
    pub problems: Vec<Problem>,
    /// Notices for the user.
    pub notices: Vec<Notice>,
    /// Certificates and keys in machinist's places that the table no longer has, relative to the certificates'
    /// directory, sorted.
    pub orphans: Vec<PathBuf>,
}

/// The action for one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The certificate's name.
    pub name: String,
    /// The step to take.
    #[serde(flatten)]
    pub step: Step,
}

/// Step for a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", content = "because", rename_all = "lowercase")]
pub enum Step {
    /// It stays as it is.
    Keep,
    /// It is issued for the first time, or again after a loss.
    Issue(#[serde(serialize_with = "texts")] Vec<Reason>),
    /// An existing one is replaced, with a new key.
    Renew(#[serde(serialize_with = "texts")] Vec<Reason>),
    /// It stays as it is because of the plan's problems.
    Refuse,
}

impl Step {
    /// Returns the reasons as text, separated by `; `. Empty if nothing happens.
    #[must_use]
    pub fn because(&self) -> String {
        self.reasons().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Returns the reasons of an issue or a renewal; otherwise none.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Keep | Self::Refuse => &[],
            Self::Issue(reasons) | Self::Renew(reasons) => reasons,
        }
    }

    /// Returns true if a certificate is issued.
    #[must_use]
    pub const fn makes_one(&self) -> bool {
        matches!(self, Self::Issue(_) | Self::Renew(_))
    }
}

fn texts<S: Serializer>(reasons: &[Reason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(ToString::to_string))
}

impl Plan {
    /// Returns true if certificates would be issued.
    #[must_use]
    pub fn makes_any(&self) -> bool {
        self.actions.iter().any(|action| action.step.makes_one())
    }

    /// Returns the action for the certificate.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// Returns the problems as one text, one per line, or `None` without any.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let lines = self.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.what));
        (!self.problems.is_empty()).then(|| lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Compares the needed certificates with the existing ones.
#[must_use]
pub fn plan(table: &Table, tree: &Tree, policy: &Policy, now: OffsetDateTime) -> Plan {
    let mut plan = Plan { problems: problems(tree), orphans: orphans(table, tree), ..Plan::default() };
    unknown_names(table, &policy.renewal, &mut plan.problems);
    let (problems, notices) = rotation::inspect(table, tree);
    plan.problems.extend(problems);
    plan.notices.extend(notices);
    let mut authorities = BTreeMap::new();
    for spec in &table.authorities {
        let verdict = authority::decide(spec, table, tree, policy, now);
        plan.problems.extend(verdict.problem);
        plan.notices.extend(verdict.notice);
        plan.actions.push(Action { name: spec.name.clone(), step: verdict.step.clone() });
        authorities.insert(spec.authority, verdict.step);
    }
    let leaves = leaf::decide_all(table, tree, policy, now, &authorities);
    authority::keys_at_hand(table, tree, &leaves, &authorities, &mut plan);
    authority::successors(table, tree, &leaves, &mut plan);
    plan.actions.extend(leaves);
    for spec in &table.key_pairs {
        let (step, problem) = key_pair::decide(spec, table, tree, policy);
        plan.problems.extend(problem);
        plan.actions.push(Action { name: spec.name.clone(), step });
    }
    plan
}

/// Adds misplaced files and unencrypted private keys.
fn problems(tree: &Tree) -> Vec<Problem> {
    let problem = |path: &Path, what: &str, hint: &str| Problem {
        subject: path.display().to_string(),
        what: what.to_owned(),
        hint: hint.to_owned(),
    };
    tree.entries()
        .filter_map(|(path, entry)| match entry {
            Entry::Corrupt(what) => {
                let hint = "restore it from version control, or move it away if it can be created again: \
                            machinist does not overwrite a file that it cannot read";
                Some(problem(path, what, hint))
            }
            Entry::Plaintext => {
                let hint = "remove it from the directory, which is meant to be committed; if it was committed \
                            or copied, replace what it protects";
                Some(problem(path, "it contains an unencrypted private key", hint))
            }
            _ => None,
        })
        .collect()
}

/// Adds names to renew that are not in the table, or that belong to authorities.
fn unknown_names(table: &Table, renewal: &Renewal, problems: &mut Vec<Problem>) {
    let Renewal::Named(names) = renewal else { return };
    for name in names {
        if table.is_renewable(name) {
            continue;
        }
        let known = join(table.certificates.iter().take(8).map(|spec| &spec.name));
        let subject = Subject::all(table).find(|subject| subject.name_in_table() == name);
        let rotate = subject.map(|subject| format!("`{}` replaces it in stages", subject.command()));
        let (what, hint) = match (subject, rotate) {
            (Some(Subject::Authority(_)), Some(rotate)) => (
                "an authority is not renewed like a leaf: everything that trusts it would have to change with it",
                rotate,
            ),
            (Some(Subject::KeyPair(_)), Some(rotate)) => {
                ("a key pair is not renewed like a certificate: everything it signed would be rejected at once", rotate)
            }
            _ => {
                let more = if table.certificates.len() > 8 { ", ..." } else { "" };
                ("no certificate has this name", format!("available: {known}{more}"))
            }
        };
        problems.push(Problem { subject: name.clone(), what: what.to_owned(), hint });
    }
}

/// Returns certificates and keys in machinist's places that have no row.
fn orphans(table: &Table, tree: &Tree) -> Vec<PathBuf> {
    let files = table
        .authorities
        .iter()
        .map(|spec| &spec.files)
        .chain(table.certificates.iter().map(|spec| &spec.files))
        .chain(table.key_pairs.iter().map(|spec| &spec.files))
        .flat_map(|files| [files.certificate.as_path(), files.key.as_path()]);
    let mut wanted: BTreeSet<&Path> = files.collect();
    let rotating = Subject::all(table).filter(|subject| tree.rotation(subject.name()).is_some());
    let beside: Vec<PathBuf> = rotating.flat_map(|subject| [subject.next_key(), subject.previous_key()]).collect();
    wanted.extend(beside.iter().map(PathBuf::as_path));
    let is_ours = |entry: &Entry| matches!(entry, Entry::Certificate(_) | Entry::Key(_) | Entry::PublicKeys(_));
    tree.entries()
        .filter(|(path, entry)| is_ours(entry) && !wanted.contains(path) && !ssh::is_authority_key(path))
        .map(|(path, _)| path.to_owned())
        .collect()
}

/// The authorities' steps, which the leaves depend on.
type Steps = BTreeMap<Authority, Step>;
