//! The input that holds a cluster's modules: whether its files are the ones whose reach is known.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::inputs;
use crate::{FlakeRef, Override, command};

/// A flake input whose texts are known, and with them which files of the cluster's directory they read.
#[derive(Clone, Copy, Debug)]
pub struct KnownInput<'a> {
    /// Its name in the cluster's flake.
    pub name: &'a str,
    /// Files and the texts that they must have.
    pub files: &'a [(&'a str, &'a str)],
}

impl KnownInput<'_> {
    /// Whether the input of the flake, as it is locked or replaced, has exactly these texts. An input that cannot be looked at
    /// has others.
    pub(super) fn is_in_use(&self, flake: &FlakeRef, overrides: &[Override]) -> bool {
        let replaced = overrides.iter().find(|replaced| replaced.input == self.name);
        let source = match replaced {
            Some(replaced) => inputs::tree(&replaced.reference).map(PathBuf::from),
            None => locked_source(&flake.worktree().join(flake.directory()), self.name),
        };
        source.is_some_and(|source| self.has_texts(&source))
    }

    fn has_texts(&self, source: &Path) -> bool {
        self.files.iter().all(|(file, text)| fs::read(source.join(file)).is_ok_and(|bytes| bytes == text.as_bytes()))
    }
}

#[derive(Deserialize)]
struct Lock {
    nodes: std::collections::BTreeMap<String, Node>,
    root: String,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    inputs: std::collections::BTreeMap<String, Value>,
    locked: Option<Locked>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    nar_hash: Option<String>,
    dir: Option<String>,
}

/// Returns where the store has the source of an input, by the digest in `flake.lock`. It may not be there (yet).
fn locked_source(directory: &Path, name: &str) -> Option<PathBuf> {
    let lock: Lock = serde_json::from_slice(&fs::read(directory.join("flake.lock")).ok()?).ok()?;
    let node = lock.nodes.get(&lock.root)?.inputs.get(name)?.as_str()?;
    let locked = lock.nodes.get(node)?.locked.as_ref()?;
    let digest = locked.nar_hash.as_ref()?;
    let arguments = ["--print-fixed-path", "--recursive", "sha256", digest, "source"].map(Into::into);
    let finished = command::run("nix-store", &arguments, Some(crate::evaluate::BOUND)).ok()?;
    let path = String::from_utf8(finished.success("nix-store --print-fixed-path").ok()?).ok()?;
    let source = PathBuf::from(path.trim());
    Some(locked.dir.as_ref().map_or_else(|| source.clone(), |folder| source.join(folder)))
}
