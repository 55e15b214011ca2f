//! Copy of a flake's work tree as nix sees it, which can be changed and built without touching the work tree.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
};

use super::{FlakeError, FlakeRef, git, git_os, read};

impl FlakeRef {
    /// Returns true if one of the paths, or a file in it, is neither tracked nor ignored by git, and thus invisible to
    /// nix.
    ///
    /// # Errors
    /// git cannot be run.
    pub fn hides(&self, paths: &[&str]) -> Result<bool, FlakeError> {
        Ok(!self.untracked(paths)?.is_empty())
    }

    /// Copies nix' view of the work tree into an empty directory, with `paths` (relative to the flake) as they would be
    /// visible after [`make_visible`](Self::make_visible). Returns the flake in the copy, and its directory.
    ///
    /// # Errors
    /// git cannot be run or refuses, or a file cannot be copied.
    pub fn snapshot(&self, to: &Path, paths: &[&str]) -> Result<(Self, PathBuf), FlakeError> {
        let listed = read(&self.worktree, &["ls-files", "-z"])?;
        let mut files = split(&listed, Path::new(""));
        files.extend(self.untracked(paths)?);
        for file in files {
            copy(&self.worktree.join(&file), &to.join(&file))
                .map_err(|source| FlakeError::Copy { path: self.worktree.join(&file), source })?;
        }
        // `--force`: tracked files of the work tree belong to it, ignored or not.
        for arguments in [&["init", "--quiet"] as &[&str], &["add", "--all", "--force"]] {
            let output = git(to, arguments)?;
            if !output.status.success() {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(FlakeError::Add { directory: to.to_owned(), message });
            }
        }
        let worktree = to.canonicalize().map_err(FlakeError::Git)?;
        let directory = worktree.join(&self.directory);
        Ok((Self { worktree, directory: self.directory.clone() }, directory))
    }

    /// Checks a revision of the work tree's repository out into an empty directory. Returns the flake in the copy, and
    /// its directory. Neither the work tree nor its index changes.
    ///
    /// # Errors
    /// git cannot be run, or the repository has no such revision.
    pub fn checkout(&self, revision: &str, to: &Path) -> Result<(Self, PathBuf), FlakeError> {
        let commit = self.commit(revision)?;
        // Its own objects: a copy that borrowed them would break when the repository is cleaned up.
        let (from, into) = (self.worktree.as_os_str(), to.as_os_str());
        let clone = ["clone".as_ref(), "--quiet".as_ref(), "--no-checkout".as_ref(), "--".as_ref(), from, into];
        let checkout = ["checkout", "--quiet", "--detach", &commit].map(OsStr::new);
        for arguments in [&clone as &[&OsStr], &checkout] {
            let output = git_os(to, arguments)?;
            if !output.status.success() {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(FlakeError::Checkout { revision: revision.to_owned(), message });
            }
        }
        let worktree = to.canonicalize().map_err(FlakeError::Git)?;
        let directory = worktree.join(&self.directory);
        Ok((Self { worktree, directory: self.directory.clone() }, directory))
    }

    /// Returns the hash of the commit that the revision names, 40 hexadecimal digits or more.
    ///
    /// # Errors
    /// git cannot be run, or the repository has no such commit.
    pub fn commit(&self, revision: &str) -> Result<String, FlakeError> {
        let name = format!("{revision}^{{commit}}");
        let output = git(&self.worktree, &["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?;
        if !output.status.success() {
            return Err(FlakeError::Revision { revision: revision.to_owned(), worktree: self.worktree.clone() });
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Returns untracked files of the paths, relative to the work tree.
    fn untracked(&self, paths: &[&str]) -> Result<BTreeSet<PathBuf>, FlakeError> {
        let directory = self.worktree.join(&self.directory);
        let mut arguments = vec!["ls-files", "--others", "--exclude-standard", "-z", "--"];
        arguments.extend(paths.iter().copied().filter(|path| directory.join(path).exists()));
        // Without a path git would list everything.
        if arguments.len() == 5 {
            return Ok(BTreeSet::new());
        }
        Ok(split(&read(&directory, &arguments)?, &self.directory))
    }
}

fn split(listing: &[u8], below: &Path) -> BTreeSet<PathBuf> {
    let names = listing.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| below.join(OsStr::from_bytes(name))).collect()
}

/// Copies a file or a link. A listed file that is deleted stays deleted; submodules are invisible to nix.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?.file_type(),
    };
    if kind.is_dir() {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if kind.is_symlink() { symlink(fs::read_link(from)?, to) } else { fs::copy(from, to).map(drop) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, path::Path, process::Command};

    use crate::FlakeRef;

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_copy_holds_what_nix_sees_and_the_work_tree_stays_as_it_is() {
        let worktree = tempfile::tempdir().unwrap();
        let at = |name: &str| worktree.path().join(name);
        git(worktree.path(), &["init", "-q"]);
        fs::create_dir_all(at("c/generated")).unwrap();
        for (name, text) in [
            ("c/flake.nix", "{ }"),
            ("c/gone.nix", ""),
            ("c/generated/a.nix", "1"),
            ("lib.nix", "l"),
            (".gitignore", "*.key\n"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        git(worktree.path(), &["add", "-A"]);
        fs::remove_file(at("c/gone.nix")).unwrap();
        for name in ["c/generated/b.nix", "c/generated/x.key", "c/notes"] {
            fs::write(at(name), "2").unwrap();
        }
        let before = git(worktree.path(), &["ls-files", "--stage"]);
        let flake = FlakeRef::find(&at("c")).unwrap();
        assert!(flake.hides(&["generated", "absent"]).unwrap());
        let copy = tempfile::tempdir().unwrap();
        let (copied, directory) = flake.snapshot(copy.path(), &["generated"]).unwrap();
        assert_eq!(
            git(copy.path(), &["ls-files"]),
            ".gitignore\nc/flake.nix\nc/generated/a.nix\nc/generated/b.nix\nlib.nix\n"
        );
        assert!(copied.reference().ends_with("?dir=c"), "{}", copied.reference());
        assert!(directory.join("flake.nix").is_file());
        assert_eq!(git(worktree.path(), &["ls-files", "--stage"]), before);
        assert!(!copied.hides(&["generated"]).unwrap());
    }

    #[test]
    fn another_revision_is_checked_out_beside_the_work_tree() {
        let worktree = tempfile::tempdir().unwrap();
        let file = worktree.path().join("c/flake.nix");
        git(worktree.path(), &["init", "-q"]);
        fs::create_dir(worktree.path().join("c")).unwrap();
        let commit = ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-a", "-m", "x"];
        for text in ["1", "2"] {
            fs::write(&file, text).unwrap();
            git(worktree.path(), &["add", "-A"]);
            git(worktree.path(), &commit);
        }
        fs::write(&file, "3").unwrap();
        let status = || git(worktree.path(), &["status", "--porcelain", "--branch"]);
        let before = status();
        let flake = FlakeRef::find(&worktree.path().join("c")).unwrap();
        for (revision, text) in [("HEAD~1", "1"), ("HEAD", "2")] {
            let to = tempfile::tempdir().unwrap();
            let (copy, directory) = flake.checkout(revision, to.path()).unwrap();
            assert_eq!(fs::read_to_string(directory.join("flake.nix")).unwrap(), text);
            assert!(copy.reference().ends_with("?dir=c"), "{}", copy.reference());
        }
        assert_eq!((status(), fs::read_to_string(&file).unwrap()), (before, "3".to_owned()));
        for revision in ["nowhere", "--help", ""] {
            let to = tempfile::tempdir().unwrap();
            let error = flake.checkout(revision, to.path()).unwrap_err().to_string();
            assert!(error.contains("has no commit"), "{error}");
        }
    }
}
