//! A flake's view of its work tree: the files that git tracks, with their current content.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{FlakeError, FlakeRef};

/// The tracked files and their content.
pub(super) struct Worktree {
    root: PathBuf,
    /// Names, relative to the work tree.
    pub(super) files: BTreeSet<String>,
    /// The reason why any file may stand for any other, if there is one.
    pub(super) odd: Option<String>,
    /// The reason why git's listing differs from the flake's view, if there is one.
    pub(super) opaque: Option<String>,
    digests: BTreeMap<String, Vec<u8>>,
}

impl Worktree {
    /// Lists the tracked files.
    ///
    /// # Errors
    /// git cannot be run.
    pub(super) fn list(flake: &FlakeRef) -> Result<Self, FlakeError> {
        let listed = crate::flake::read(flake.worktree(), &["ls-files", "-z", "--stage"])?;
        let mut worktree = Self {
            root: flake.worktree().to_owned(),
            files: BTreeSet::new(),
            odd: None,
            opaque: None,
            digests: BTreeMap::new(),
        };
        for line in listed.split(|&byte| byte == 0).filter(|line| !line.is_empty()) {
            worktree.add(line);
        }
        Ok(worktree)
    }

    /// Adds a line of `git ls-files --stage`: `100644 <object> 0<tab><name>`.
    fn add(&mut self, line: &[u8]) {
        let Some((mode, name)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once('\t')) else {
            self.opaque = Some("a file name that is not UTF-8".to_owned());
            return;
        };
        match mode.get(..6) {
            Some("160000") => self.opaque = Some(format!("the submodule {name}")),
            Some("120000") => self.odd = Some(format!("the link {name}")),
            _ if name.rsplit('/').next() == Some(".gitattributes") => {
                self.opaque = Some(format!("{name}: git may convert the file on checkout"));
            }
            _ => {}
        }
        self.files.insert(name.to_owned());
    }

    /// Reads a file as the flake sees it. `None` if it is deleted.
    pub(super) fn read(&mut self, name: &str) -> Option<Vec<u8>> {
        let path = self.root.join(name);
        let content = fs::symlink_metadata(&path).and_then(|metadata| {
            if metadata.is_symlink() {
                let target = fs::read_link(&path)?.into_os_string().into_encoded_bytes();
                return Ok((b'l', target));
            }
            let kind = if metadata.permissions().mode() & 0o100 == 0 { b'f' } else { b'x' };
            fs::read(&path).map(|bytes| (kind, bytes))
        });
        let mut digest = Sha256::new();
        let bytes = content.ok().map(|(kind, bytes)| {
            if kind == b'l' {
                self.odd = Some(format!("the link {name}"));
            }
            digest.update([kind]);
            digest.update(&bytes);
            bytes
        });
        self.digests.insert(name.to_owned(), digest.finalize().to_vec());
        bytes
    }

    /// Adds the files, each with its content.
    pub(super) fn digest(&mut self, names: &BTreeSet<String>) -> Vec<u8> {
        let mut digest = Sha256::new();
        for name in names {
            if !self.digests.contains_key(name) {
                self.read(name);
            }
            super::add(&mut digest, name.as_bytes());
            super::add(&mut digest, self.digests.get(name).map_or(&[], Vec::as_slice));
        }
        digest.finalize().to_vec()
    }

    /// Adds all files, and the commit's part of `self`.
    pub(super) fn whole(&mut self) -> Result<Vec<u8>, FlakeError> {
        let mut digest = Sha256::new();
        let names = self.files.clone();
        super::add(&mut digest, &self.digest(&names));
        let commit = crate::flake::git(&self.root, &["rev-parse", "--verify", "--quiet", "HEAD"])?.stdout;
        let clean = crate::flake::git(&self.root, &["diff", "--quiet", "--ignore-submodules", "HEAD"])?;
        super::add(&mut digest, &commit);
        super::add(&mut digest, if clean.status.success() { b"clean" } else { b"dirty" });
        Ok(digest.finalize().to_vec())
    }
}

/// Returns the flake's folder in its work tree with a trailing slash, or an empty text for the work tree itself.
pub(super) fn folder(directory: &Path) -> String {
    let text = directory.to_string_lossy();
    if text.is_empty() { String::new() } else { format!("{text}/") }
}
