//! Digest for each node over everything that the evaluation of its system can read. Equal digests mean equal systems,
//! so that an unchanged node needs no evaluation.

mod flake;
mod inputs;
mod library;
mod reach;
#[cfg(test)]
mod tests;
mod worktree;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::library::KnownInput;
use self::{flake::Library, reach::Source, worktree::Worktree};
use crate::{FlakeError, FlakeRef, Nix, NixError, flake_lock::Locks};

/// Must change whenever the same files no longer give the same digest.
const VERSION: &str = "machinist 1";

/// The digests of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Node to digest, in hexadecimal.
    pub of: BTreeMap<String, String>,
    /// The reason why some node's digest covers the complete work tree and the commit, if one does.
    pub whole: Option<String>,
}

/// A file with known text and known reads, which a search of the text could not find.
#[derive(Clone, Copy, Debug)]
pub struct KnownFile {
    /// The path, relative to the flake.
    pub path: &'static str,
    /// The expected text: a file with any other text is searched.
    pub text: &'static str,
    /// The files and directories that it reads, relative to its own directory.
    pub reads: &'static [&'static str],
}

/// The files with known texts.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Files of the cluster's own directory.
    pub files: &'a [KnownFile],
    /// The flake input that may contain the modules instead.
    pub input: KnownInput<'a>,
}

/// Reason why there are no digests.
#[derive(Debug, Error)]
pub enum FingerprintError {
    /// The dependencies of an evaluation cannot be determined.
    #[error("cannot determine the dependencies of the systems: {0}")]
    Unknown(String),
    /// The files cannot be listed.
    #[error(transparent)]
    Flake(#[from] FlakeError),
}

impl Nix {
    /// Returns a digest for each node over everything that its system can depend on. `known` are files whose
    /// expressions refer to others; if their texts differ, the digest covers the complete work tree.
    ///
    /// # Errors
    /// A dependency's content cannot be determined cheaply, or git cannot be run.
    pub fn fingerprints(
        &self,
        flake: &FlakeRef,
        known: Known<'_>,
        nodes: &[&str],
    ) -> Result<Fingerprints, FingerprintError> {
        let mut base = Sha256::new();
        add(&mut base, VERSION.as_bytes());
        inputs::add_nix(&mut base).map_err(FingerprintError::Unknown)?;
        inputs::add_overrides(&mut base, self.overrides()).map_err(FingerprintError::Unknown)?;
        let mut tree = Worktree::list(flake)?;
        if let Some(why) = tree.opaque.take() {
            return Err(FingerprintError::Unknown(why));
        }
        let folder = worktree::folder(flake.directory());
        add(&mut base, folder.as_bytes());
        let files = tree.files.clone();
        let shared_roots = [format!("{folder}flake.nix"), format!("{folder}flake.lock")];
        let is_known_input = known.input.is_in_use(flake, self.overrides());
        let mut source = |file: &str| source(&mut tree, &folder, known.files, is_known_input, file);
        let shared = reach::reach(&shared_roots, &files, &BTreeSet::new(), &mut source);
        let own: Vec<(&str, Result<BTreeSet<String>, String>)> = nodes
            .iter()
            .map(|node| {
                let roots = [format!("generated/{node}.nix"), format!("nodes/{node}.nix"), format!("nodes/{node}")];
                let roots = roots.map(|root| format!("{folder}{root}"));
                let known = shared.as_ref().map_err(Clone::clone);
                (*node, known.and_then(|known| reach::reach(&roots, &files, known, &mut source)))
            })
            .collect();
        add(&mut base, &tree.digest(&shared.unwrap_or_default()));
        finish(&base, &mut tree, own)
    }

    /// Returns true if each input of the flake is locked by a `flake.lock` or is a directory covered by a digest.
    ///
    /// # Errors
    /// nix fails.
    pub fn inputs_are_pinned(&self, flake: &FlakeRef) -> Result<bool, NixError> {
        let computed = self.flake_metadata(flake)?.locks.locked();
        let mut directories = vec![flake.worktree().join(flake.directory())];
        directories.extend(self.overrides().iter().filter_map(|o| inputs::tree(&o.reference)).map(Into::into));
        let mut pinned: Vec<Value> = Vec::new();
        for directory in &directories {
            let text = std::fs::read_to_string(directory.join("flake.lock")).unwrap_or_default();
            pinned.extend(serde_json::from_str::<Locks>(&text).map(|locks| locks.locked()).unwrap_or_default());
        }
        let replaced: Vec<&str> = self.overrides().iter().map(|o| o.reference.as_str()).collect();
        let is_replacement = |input: &Value| {
            let text = |name: &str| input.get(name).and_then(Value::as_str);
            let place = text("path").or_else(|| text("url")?.strip_prefix("file://"));
            place.is_some_and(|place| replaced.iter().any(|known| inputs::tree(known) == Some(place)))
                || text("rev").is_some_and(|rev| replaced.iter().any(|r| r.contains(rev)))
        };
        Ok(computed.iter().all(|input| pinned.iter().any(|known| is_same(known, input)) || is_replacement(input)))
    }
}

/// Combines each node's digest. If a node may read anything, all files and the commit count.
fn finish(
    base: &Sha256,
    tree: &mut Worktree,
    own: Vec<(&str, Result<BTreeSet<String>, String>)>,
) -> Result<Fingerprints, FingerprintError> {
    let odd = tree.odd.clone();
    let mut of = BTreeMap::new();
    let mut whole: Option<(String, Vec<u8>)> = None;
    for (node, own) in own {
        let mut digest = base.clone();
        add(&mut digest, node.as_bytes());
        match own.and_then(|own| odd.clone().map_or(Ok(own), Err)) {
            Ok(own) => add(&mut digest, &tree.digest(&own)),
            Err(why) => {
                let all = match whole.take() {
                    Some((_, all)) => all,
                    None => tree.whole()?,
                };
                add(&mut digest, &all);
                whole = Some((why, all));
            }
        }
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        of.insert(node.to_owned(), hex);
    }
    Ok(Fingerprints { of, whole: whole.map(|(why, _)| why) })
}

/// Extensions of data files: nothing in them leads Nix to another file.
const LEAVES: [&str; 12] = ["pem", "crt", "pub", "age", "md", "sh", "service", "conf", "patch", "rs", "yaml", "yml"];

/// The same by name: only cargo reads the paths in them.
const LEAF_NAMES: [&str; 3] = ["Cargo.lock", "Cargo.toml", "flake.lock"];

fn source(tree: &mut Worktree, folder: &str, known: &[KnownFile], is_known_input: bool, file: &str) -> Source {
    let Some(bytes) = tree.read(file) else { return Source::Leaf };
    let name = file.rsplit('/').next().unwrap_or(file);
    let (_, extension) = name.rsplit_once('.').unwrap_or((file, ""));
    if LEAVES.contains(&extension) || LEAF_NAMES.contains(&name) {
        return Source::Leaf;
    }
    let Ok(text) = String::from_utf8(bytes) else { return Source::Leaf };
    let own = file.strip_prefix(folder).unwrap_or(file);
    if let Some(known) = known.iter().find(|known| known.path == own && known.text == text) {
        return Source::Known(known.reads.iter().map(|path| (*path).to_owned()).collect());
    }
    match own {
        "flake.nix" => match flake::scan(&text) {
            Ok((Library::Vendored, mut literals)) => {
                literals.insert("./nix/cluster.nix".to_owned());
                Source::Known(literals)
            }
            Ok((Library::Input, mut literals)) if is_known_input => {
                // Besides the nodes' own files, the only ones that nix/cluster.nix of the input reads.
                literals.insert("./app_modules".to_owned());
                Source::Known(literals)
            }
            Ok((Library::Input, _)) | Err(_) => Source::Nix(text),
        },
        _ if extension == "nix" || extension.is_empty() => Source::Nix(text),
        _ => Source::Data(text),
    }
}

/// Compares two lock files. Versions of Nix write different attributes; the digest of the content is enough.
fn is_same(one: &Value, other: &Value) -> bool {
    let content = |value: &Value| value.get("narHash").and_then(Value::as_str).map(str::to_owned);
    one == other || content(one).is_some_and(|digest| content(other) == Some(digest))
}

/// Adds a part preceded by its length, so that different sequences of parts never give the same bytes.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_le_bytes());
    digest.update(part);
}
