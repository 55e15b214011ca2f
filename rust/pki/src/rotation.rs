//! Rotation of an authority, or of a shared key pair, while the cluster keeps running. Pure.
//!
//! Verifiers must trust the new one before anything presents what the new one signed, and must trust the old one until
//! nothing presents its signatures any more. So there are three stages, with a deploy to every machine between two of
//! them:
//!
//! | stage | trusted | signs |
//! |---|---|---|
//! | [`Stage::TrustBoth`] | old, new | old |
//! | [`Stage::SignNew`] | new, old | new |
//! | [`Stage::DropOld`] | new | new |
//!
//! The stage is recorded in `rotations.json` of the certificates' directory. The trusted certificates or public keys
//! are in the one file that all consumers read anyway, with the signing one first. The key that does not sign yet is
//! beside it, `<name>.next.key.age`. A key that no longer signs is deleted, except for one that encrypted: that is
//! `<name>.previous.key.age` until nothing is encrypted by it.
//!
//! Each stage is recorded before its files are written, and writing them again changes nothing: the next run finishes
//! an interrupted one ([`Position::Unfinished`]).

mod apply;
mod deployed;
mod record;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use machinist_model::NodeName;

use crate::{
    AuthoritySpec, Certificate, Files, Holder, KeyId, KeyPairSpec, KeyUse, Table, Tree,
    encryption::{self, SECRETS_ENCRYPTION},
    problem::{Notice, Problem},
    table::SERVICE_ACCOUNT,
};

pub(crate) use apply::record;
pub use apply::{RotateError, apply, note_in_use};
pub use deployed::{Found, behind};
pub use record::{RECORD, Rotation, Rotations, Stage};

/// Subject of a rotation.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An authority, with all certificates signed by it.
    Authority(&'a AuthoritySpec),
    /// A key pair.
    KeyPair(&'a KeyPairSpec),
}

impl<'a> Subject<'a> {
    /// Returns everything that can be rotated in the cluster, authorities first.
    pub fn all(table: &'a Table) -> impl Iterator<Item = Self> {
        // A token or password is known to its holders, and cannot sign anything.
        let lasting = |spec: &&KeyPairSpec| !matches!(spec.used_as, KeyUse::Token | KeyUse::Password);
        table.authorities.iter().map(Self::Authority).chain(table.key_pairs.iter().filter(lasting).map(Self::KeyPair))
    }

    /// Returns true for the key that encrypts Secrets.
    #[must_use]
    pub const fn is_encryption(self) -> bool {
        matches!(self, Self::KeyPair(KeyPairSpec { used_as: KeyUse::Encryption, .. }))
    }

    /// Returns true for the key of a node in a control mesh.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::KeyPair(KeyPairSpec { used_as, .. }) if used_as.is_control())
    }

    /// Returns its name in the record and in files, such as `etcd`.
    #[must_use]
    pub fn name(self) -> &'a str {
        match self {
            Self::Authority(spec) => spec.authority.as_str(),
            Self::KeyPair(spec) => &spec.name,
        }
    }

    /// Returns its name in the table, such as `etcd-ca`.
    #[must_use]
    pub fn name_in_table(self) -> &'a str {
        match self {
            Self::Authority(spec) => &spec.name,
            Self::KeyPair(spec) => &spec.name,
        }
    }

    /// Returns the command that rotates it.
    #[must_use]
    pub fn command(self) -> String {
        match self {
            Self::Authority(spec) => format!("machinist certs rotate-ca {}", spec.authority),
            Self::KeyPair(_) if self.is_encryption() => "machinist certs rotate-encryption".to_owned(),
            Self::KeyPair(_) if self.is_control() => "machinist certs rotate-control".to_owned(),
            Self::KeyPair(_) => "machinist certs rotate-sa".to_owned(),
        }
    }

    /// Returns the files of the signing one.
    #[must_use]
    pub fn files(self) -> &'a Files {
        match self {
            Self::Authority(spec) => &spec.files,
            Self::KeyPair(spec) => &spec.files,
        }
    }

    /// Returns the file of the key that will sign in the next stage.
    #[must_use]
    pub fn next_key(self) -> PathBuf {
        self.files().key.with_file_name(format!("{}.next.key.age", self.name()))
    }

    /// Returns the file of the previous key. It is kept only for encryption, until nothing is encrypted by it.
    #[must_use]
    pub fn previous_key(self) -> PathBuf {
        self.files().key.with_file_name(format!("{}.previous.key.age", self.name()))
    }

    /// Returns the machines that verify or present its signatures, sorted.
    #[must_use]
    pub fn consumers(self, table: &Table) -> Vec<NodeName> {
        let mut nodes: Vec<NodeName> = match self {
            Self::Authority(spec) => {
                let own = table.certificates.iter().filter(|leaf| leaf.authority == spec.authority);
                let node = |holder: &Holder| match holder {
                    Holder::Node(node) => Some(node.clone()),
                    Holder::Operators => None,
                };
                own.filter_map(|leaf| node(&leaf.holder)).collect()
            }
            // Each node of a control mesh verifies the keys of all.
            Self::KeyPair(_) if self.is_control() => {
                let pairs = table.key_pairs.iter().filter(|spec| spec.used_as.is_control());
                pairs.flat_map(|spec| spec.holders.iter().cloned()).collect()
            }
            Self::KeyPair(spec) => spec.holders.iter().cloned().collect(),
        };
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// Returns the ids of the trusted keys, the signing one first.
    fn trusted(self, tree: &Tree) -> Vec<&KeyId> {
        match self {
            Self::Authority(spec) => {
                tree.trusted(&spec.files.certificate).iter().map(|certificate| &certificate.key_id).collect()
            }
            Self::KeyPair(spec) => tree.public_keys(&spec.files.certificate).iter().collect(),
        }
    }

    /// Returns true if every existing certificate was signed by the authority that signs now.
    fn is_reissued(self, table: &Table, tree: &Tree) -> bool {
        let Self::Authority(spec) = self else { return true };
        let Some(signer) = tree.certificate(&spec.files.certificate) else { return false };
        let signed = |certificate: &Certificate| certificate.is_signed_by(signer);
        let mut own = table.certificates.iter().filter(|leaf| leaf.authority == spec.authority);
        own.all(|leaf| tree.certificate(&leaf.files.certificate).is_none_or(signed))
    }
}

/// Progress of a rotation, by its record and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// No rotation is in progress.
    Idle,
    /// The stage is recorded, but some of its files differ: it must be applied (again).
    Unfinished(Stage),
    /// The files match the record.
    At(Rotation),
}

/// Returns the progress of the rotation.
#[must_use]
pub fn position(table: &Table, tree: &Tree, subject: Subject<'_>) -> Position {
    let Some(rotation) = tree.rotation(subject.name()) else { return Position::Idle };
    let trusted = subject.trusted(tree);
    let key = tree.key(&subject.files().key).flatten();
    let next = tree.key(&subject.next_key());
    let has_all = !subject.is_encryption() || encryption::missing(tree, subject.files()).is_empty();
    let applied = match (rotation.stage, trusted.as_slice()) {
        (Stage::TrustBoth, [_, new]) => next.flatten() == Some(*new),
        (Stage::SignNew, [new, _]) => next.is_none() && key == Some(*new) && subject.is_reissued(table, tree),
        _ => false,
    };
    if applied && has_all { Position::At(rotation.clone()) } else { Position::Unfinished(rotation.stage) }
}

/// Returns the problems and the notices of all rotations.
pub(crate) fn inspect(table: &Table, tree: &Tree) -> (Vec<Problem>, Vec<Notice>) {
    let problems = Subject::all(table).filter_map(|subject| problem(tree, subject)).collect();
    let notices = Subject::all(table).filter_map(|subject| {
        let subject = subject.name_in_table().to_owned();
        Some(Notice { what: notice_of(table, tree, &subject)?, subject })
    });
    (problems, notices.collect())
}

/// Describes the rotation of a row of the table; `None` if it is not being rotated.
#[must_use]
pub fn notice_of(table: &Table, tree: &Tree, name_in_table: &str) -> Option<String> {
    let subject = Subject::all(table).find(|subject| subject.name_in_table() == name_in_table)?;
    if subject.is_encryption() && tree.rotation(subject.name()).is_none() && is_plain_text(table, tree) {
        return Some(format!("Secrets are unencrypted in etcd: `{}` encrypts them, in stages", subject.command()));
    }
    let rotation = tree.rotation(subject.name())?;
    let (stage, since, command) = (rotation.stage, rotation.since.date(), subject.command());
    Some(match position(table, tree, subject) {
        Position::Unfinished(_) => format!("its rotation was interrupted in {stage}: `{command}` continues it"),
        _ => format!("it is being rotated: {stage}, since {since}; once that is deployed, `{command}` continues it"),
    })
}

/// Returns true if the cluster was created before Secrets were encrypted: its service accounts have a key, its Secrets
/// have none.
pub(crate) fn is_plain_text(table: &Table, tree: &Tree) -> bool {
    let has = |name: &str| {
        let spec = table.key_pairs.iter().find(|spec| spec.name == name);
        spec.is_some_and(|spec| [&spec.files.certificate, &spec.files.key].iter().any(|path| tree.get(path).is_some()))
    };
    has(SERVICE_ACCOUNT) && !has(SECRETS_ENCRYPTION)
}

/// Describes all unfinished rotations, each as a line that starts with the name in the table.
#[must_use]
pub fn unfinished(table: &Table, tree: &Tree) -> Vec<String> {
    inspect(table, tree).1.into_iter().map(|Notice { subject, what }| format!("{subject}: {what}")).collect()
}

/// Returns the problem of a trusted set that is larger or smaller than the record explains.
fn problem(tree: &Tree, subject: Subject<'_>) -> Option<Problem> {
    let trusted = subject.trusted(tree).len();
    let stage = tree.rotation(subject.name()).map(|rotation| rotation.stage);
    let file = subject.files().certificate.display().to_string();
    let restore = format!("restore {file} and {RECORD} from the same commit");
    let (what, hint) = match (stage, trusted) {
        (None, 0 | 1) => return None,
        (None, _) => (
            format!("{trusted} are trusted, but no rotation is recorded in {RECORD}"),
            format!("{restore}, or remove the untrusted ones from the file"),
        ),
        (Some(Stage::SignNew), 0 | 1) => {
            ("the old one is missing, but machines still need it: its rotation is in stage 2".to_owned(), restore)
        }
        (Some(_), 0..=2) => return None,
        (Some(_), _) => (format!("{trusted} are trusted, but a rotation has two"), restore),
    };
    Some(Problem { subject: file, what, hint })
}

/// Returns the PEM blocks of a text, each with its line ending.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        if let Some(block) = blocks.last_mut() {
            block.push_str(line.trim_end());
            block.push('\n');
        }
        if line.starts_with("-----END") {
            blocks.push(String::new());
        }
    }
    blocks.retain(|block| block.contains("-----BEGIN"));
    blocks
}
