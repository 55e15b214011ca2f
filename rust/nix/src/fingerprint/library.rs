//! Input that contains a cluster's modules: comparison of its files with those of known reach.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::inputs;
use crate::{FlakeRef, Override, command, flake_lock::Locks, process};

/// A flake input with known texts, and thus known reads in the cluster's directory.
#[derive(Clone, Copy, Debug)]
pub struct KnownInput<'a> {
    /// The input's name in the cluster's flake.
    pub name: &'a str,
    /// Files and their expected texts.
    pub files: &'a [(&'a str, &'a str)],
}

impl KnownInput<'_> {
    /// Returns true if the input of the flake, as locked or replaced, has exactly these texts. An input that cannot be
    /// read counts as different.
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

/// Returns the store path of an input's source, by the digest in `flake.lock`. It may not exist (yet).
fn locked_source(directory: &Path, name: &str) -> Option<PathBuf> {
    let locks: Locks = serde_json::from_slice(&fs::read(directory.join("flake.lock")).ok()?).ok()?;
    let locked = locks.input(name)?;
    let digest = locked.get("narHash")?.as_str()?;
    let arguments = ["--print-fixed-path", "--recursive", "sha256", digest, "source"].map(Into::into);
    let finished = process::run("nix-store", &arguments, Some(command::BOUND)).ok()?;
    let path = String::from_utf8(finished.success("nix-store --print-fixed-path").ok()?).ok()?;
    let source = PathBuf::from(path.trim());
    let folder = locked.get("dir").and_then(|dir| dir.as_str()).unwrap_or_default();
    Some(source.join(folder))
}
