//! What is wrong with the files of secrets.

use std::collections::{BTreeMap, BTreeSet};

use machinist_secrets::Identities;
use serde::Serialize;

use super::{
    file::{opened, parse},
    recipients::Readers,
    store::{SecretName, Store},
};
use crate::{context::Context, failure::Failure};

/// A problem of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum Problem {
    /// machines.nix names the file, and it does not exist.
    Missing,
    /// No node decrypts the file.
    Unreferenced,
    /// It cannot be read or decrypted, or was changed.
    Broken {
        /// The reason.
        why: String,
    },
    /// Someone can decrypt the file who need not.
    TooMany {
        /// A node's name, or the recipient.
        who: String,
    },
    /// Someone cannot decrypt the file who must.
    TooFew {
        /// An operator's or a node's name.
        who: String,
    },
    /// A node must decrypt the file, and its host key is not known yet.
    NoHostKey {
        /// The node's name.
        who: String,
    },
}

impl Problem {
    /// Returns true if the file does its work all the same.
    #[must_use]
    pub const fn is_remark(&self) -> bool {
        matches!(self, Self::Unreferenced | Self::NoHostKey { .. })
    }
}

/// A problem and its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: SecretName,
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
}

/// Compares the files with machines.nix, and decrypts all of them.
///
/// # Errors
/// machines.nix is invalid, or the operator's identity is missing.
pub fn check(context: &Context) -> Result<(usize, Vec<Finding>), Failure> {
    let cluster = context.project.load()?.cluster;
    let readers = Readers::of(context, &cluster)?;
    let store = Store::of(&context.project);
    let files = store.files()?;
    let identities = if files.is_empty() { None } else { Some(context.keyring.unlock()?) };
    let names = names(&readers);
    let mut findings = Vec::new();
    for file in &files {
        let mut report = |problem| findings.push(Finding { file: file.clone(), problem });
        if !cluster.secrets.contains_key(file.as_str()) {
            report(Problem::Unreferenced);
        }
        let (wanted, without) = readers.of_file(&cluster, file)?;
        without.iter().for_each(|node| report(Problem::NoHostKey { who: node.to_string() }));
        match recipients(&store, file, identities.as_ref()) {
            Ok(found) => {
                let wanted: BTreeMap<&str, &str> =
                    wanted.iter().map(|reader| (reader.recipient.text(), reader.name.as_str())).collect();
                let name = |text: &String| names.get(text).unwrap_or(text).clone();
                let extra = found.iter().filter(|text| !wanted.contains_key(text.as_str()));
                extra.for_each(|text| report(Problem::TooMany { who: name(text) }));
                let absent = wanted.iter().filter(|(text, _)| !found.contains(**text));
                absent.for_each(|(_, who)| report(Problem::TooFew { who: (*who).to_owned() }));
            }
            Err(failure) => report(Problem::Broken { why: failure.in_one_line() }),
        }
    }
    let missing = cluster.secrets.keys().filter(|name| files.iter().all(|file| file.as_str() != name.as_str()));
    for name in missing {
        findings.push(Finding { file: SecretName::parse(name)?, problem: Problem::Missing });
    }
    findings.sort_by(|one, other| one.file.cmp(&other.file));
    Ok((files.len(), findings))
}

/// Returns the recipients of a file that can be decrypted and is unchanged.
fn recipients(store: &Store, file: &SecretName, identities: Option<&Identities>) -> Result<BTreeSet<String>, Failure> {
    let document = parse(store, file)?;
    let found = document.metadata().recipients().map(str::to_owned).collect();
    if let Some(identities) = identities {
        opened(document, file, identities)?;
    }
    Ok(found)
}

/// Returns the names of known recipients.
fn names(readers: &Readers) -> BTreeMap<String, String> {
    let nodes = readers.nodes.iter().filter_map(|(_, reader)| reader.as_ref());
    let all = readers.operators.iter().chain(nodes);
    all.map(|reader| (reader.recipient.text().to_owned(), reader.name.clone())).collect()
}
