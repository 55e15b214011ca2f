//! References to the cluster's own flake.

mod snapshot;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Output,
};

use thiserror::Error;

use crate::environment;

/// A flake in a directory of a git work tree, as `git+file://<work tree>?dir=<directory>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlakeRef {
    worktree: PathBuf,
    directory: PathBuf,
}

/// Reason why a directory cannot be used as a flake.
#[allow(
    missing_docs,
    reason = "`directory`, `worktree` and `path` are absolute, `revision` is as given, `message` is git's own, `source` the system's error"
)]
#[derive(Debug, Error)]
pub enum FlakeError {
    /// The directory is not in a git work tree.
    #[error("{} is not in a git work tree", .0.display())]
    NoWorktree(PathBuf),
    /// There is a git repository, or something like one, which git refuses to read.
    #[error("git refuses to read {}: {message}", .directory.display())]
    Refused { directory: PathBuf, message: String },
    /// The surrounding work tree ignores the directory, so no flake of that work tree could see its files.
    #[error("{} is ignored by the git work tree around it", .0.display())]
    Ignored(PathBuf),
    /// The path has characters that a reference would have to encode. Nix 2.8 then silently reads the last commit
    /// instead of the work tree.
    #[error("the path {} has characters that some versions of Nix do not accept in a flake reference", .0.display())]
    Path(PathBuf),
    /// The directory has no flake.nix.
    #[error("{} contains no flake.nix", .0.display())]
    NoFlake(PathBuf),
    /// git cannot be run.
    #[error("cannot run git")]
    Git(#[source] std::io::Error),
    /// A file cannot be copied.
    #[error("cannot copy {}", .path.display())]
    Copy {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The repository has no such commit.
    #[error("{} has no commit `{revision}`", .worktree.display())]
    Revision { revision: String, worktree: PathBuf },
    /// A revision cannot be checked out.
    #[error("cannot check `{revision}` out: {message}")]
    Checkout { revision: String, message: String },
    /// `git add` failed.
    #[error("`git add --intent-to-add` failed in {}: {message}", .directory.display())]
    Add { directory: PathBuf, message: String },
}

impl FlakeError {
    /// Returns the way to fix it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorktree(directory) => Some(format!(
                "machinist reads a cluster through git, to keep ignored files out of the store: \
                 `git -C {} init`",
                directory.display()
            )),
            Self::Ignored(directory) => {
                Some(format!("make it a separate repository: `git -C {} init`", directory.display()))
            }
            Self::Path(_) => Some("use a path of only letters, digits and - _ . ~".to_owned()),
            Self::NoFlake(directory) => Some(format!("`machinist init {}` creates one", directory.display())),
            Self::Git(_) => Some("install git".to_owned()),
            Self::Refused { message, .. } if message.contains("safe.directory") => Some(
                "run machinist as the owner of the repository; allow it for yourself only if you trust the owner, \
                 whose hooks and settings git would obey"
                    .to_owned(),
            ),
            Self::Revision { worktree, .. } => Some(format!("`git -C {} log` lists them", worktree.display())),
            Self::Refused { .. } | Self::Checkout { .. } => None,
            Self::Add { .. } | Self::Copy { .. } => None,
        }
    }
}

impl FlakeRef {
    /// Finds the work tree that the directory is in.
    ///
    /// # Errors
    /// There is no flake.nix, no work tree, or no git.
    pub fn find(directory: &Path) -> Result<Self, FlakeError> {
        if !directory.join("flake.nix").is_file() {
            return Err(FlakeError::NoFlake(directory.to_owned()));
        }
        let worktree = toplevel(directory)?.ok_or_else(|| FlakeError::NoWorktree(directory.to_owned()))?;
        let canonical = directory.canonicalize().map_err(FlakeError::Git)?;
        let worktree = worktree.canonicalize().map_err(FlakeError::Git)?;
        let Ok(below) = canonical.strip_prefix(&worktree) else {
            return Err(FlakeError::NoWorktree(directory.to_owned()));
        };
        if is_ignored(directory)? {
            return Err(FlakeError::Ignored(directory.to_owned()));
        }
        if !is_plain(&canonical) {
            return Err(FlakeError::Path(canonical));
        }
        Ok(Self { directory: below.to_owned(), worktree })
    }

    /// Returns true if the directory is in a git work tree that would show its files to a flake.
    ///
    /// # Errors
    /// git cannot be run, or refuses to read the existing repository.
    pub fn has_worktree(directory: &Path) -> Result<bool, FlakeError> {
        Ok(toplevel(directory)?.is_some() && !is_ignored(directory)?)
    }

    /// Returns the submodules of the work tree, relative to it. Their files are invisible to a flake.
    ///
    /// # Errors
    /// git cannot be run or refuses.
    pub(crate) fn submodules(&self) -> Result<Vec<String>, FlakeError> {
        let listed = read(&self.worktree, &["ls-files", "-z", "--stage"])?;
        let submodule = |line: &str| Some(line.strip_prefix("160000 ")?.split_once('\t')?.1.to_owned());
        Ok(String::from_utf8_lossy(&listed).split('\0').filter_map(submodule).collect())
    }

    /// Returns the installable for an attribute, such as `git+file:///c?dir=x#nixosConfigurations.a`.
    #[must_use]
    pub fn attribute(&self, attribute: &str) -> String {
        format!("{}#{attribute}", self.reference())
    }

    /// Returns the reference without an attribute.
    #[must_use]
    pub fn reference(&self) -> String {
        let mut reference = format!("git+file://{}", self.worktree.display());
        if !self.directory.as_os_str().is_empty() {
            reference.push_str("?dir=");
            reference.push_str(&self.directory.display().to_string());
        }
        reference
    }

    /// Returns true if git has the file of the flake's directory as it is there: tracked, and the same as in the last
    /// commit.
    ///
    /// # Errors
    /// git cannot be run or refuses.
    pub fn is_committed(&self, file: &str) -> Result<bool, FlakeError> {
        let directory = self.worktree.join(&self.directory);
        let tracked = !read(&directory, &["ls-files", "--", file])?.is_empty();
        Ok(tracked && read(&directory, &["status", "--porcelain", "--", file])?.is_empty())
    }

    /// Returns the git work tree.
    pub(crate) fn worktree(&self) -> &Path {
        &self.worktree
    }

    /// Returns the flake's folder in the work tree; empty for the work tree itself.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes untracked files visible to the flake, without staging their content. Ignored files stay invisible.
    ///
    /// # Errors
    /// git cannot be run or refuses.
    pub fn make_visible(&self, paths: &[&str]) -> Result<(), FlakeError> {
        let directory = self.worktree.join(&self.directory);
        let existing: Vec<&str> = paths.iter().copied().filter(|path| directory.join(path).exists()).collect();
        if existing.is_empty() {
            return Ok(());
        }
        let mut listing = vec!["ls-files", "--others", "--exclude-standard", "-z", "--"];
        listing.extend(&existing);
        // Only if there is something to add: `git add` takes the index lock and rewrites the index each time.
        if read(&directory, &listing)?.is_empty() {
            return Ok(());
        }
        let mut arguments = vec!["add", "--intent-to-add", "--"];
        arguments.extend(existing);
        let output = git(&directory, &arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(FlakeError::Add { directory, message })
    }
}

/// Runs git in the directory, with English messages.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> Result<Output, FlakeError> {
    git_os(directory, &arguments.iter().map(OsStr::new).collect::<Vec<_>>())
}

/// Runs git in the directory with arguments that may be paths, with English messages.
pub(crate) fn git_os(directory: &Path, arguments: &[&OsStr]) -> Result<Output, FlakeError> {
    let mut command = environment::program("git");
    command.env("LC_ALL", "C").arg("-C").arg(directory).args(arguments).output().map_err(FlakeError::Git)
}

/// Runs git in the directory and returns its standard output.
///
/// # Errors
/// git cannot be run, or fails: partial output is discarded.
pub(crate) fn read(directory: &Path, arguments: &[&str]) -> Result<Vec<u8>, FlakeError> {
    let output = git(directory, arguments)?;
    if output.status.success() { Ok(output.stdout) } else { Err(refused(directory, &output)) }
}

fn refused(directory: &Path, output: &Output) -> FlakeError {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    let message = match said.strip_prefix("fatal: ").unwrap_or(said) {
        "" => output.status.to_string(),
        message => message.to_owned(),
    };
    FlakeError::Refused { directory: directory.to_owned(), message }
}

/// Returns the root of the work tree around the directory, if there is one.
fn toplevel(directory: &Path) -> Result<Option<PathBuf>, FlakeError> {
    let output = git(directory, &["rev-parse", "--show-toplevel"])?;
    if output.status.success() {
        return Ok(Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n'))));
    }
    // git's only message about a directory without any repository; a broken repository gives another one.
    let none = b"fatal: not a git repository (or any";
    if output.stderr.starts_with(none) { Ok(None) } else { Err(refused(directory, &output)) }
}

/// Returns true if git ignores the directory. As in git, files that are tracked in spite of a rule do not count.
fn is_ignored(directory: &Path) -> Result<bool, FlakeError> {
    let output = git(directory, &["check-ignore", "--quiet", "flake.nix"])?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(refused(directory, &output)),
    }
}

/// Returns true if the path needs no encoding in a URL (RFC 3986, unreserved characters).
fn is_plain(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{FlakeError, FlakeRef};
    use std::process::Command;

    fn worktree() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        assert!(Command::new("git").args(["init", "-q"]).arg(directory.path()).status().unwrap().success());
        std::fs::create_dir(directory.path().join("a-b")).unwrap();
        std::fs::write(directory.path().join("a-b/flake.nix"), "{ }").unwrap();
        directory
    }

    #[test]
    fn a_local_flake_is_named_through_git_with_its_folder() {
        let worktree = worktree();
        let reference = FlakeRef::find(&worktree.path().join("a-b")).unwrap().attribute("x");
        assert!(reference.starts_with("git+file:///"), "{reference}");
        assert!(reference.ends_with("?dir=a-b#x"), "{reference}");
    }

    #[test]
    fn a_path_that_would_be_encoded_is_refused() {
        let worktree = worktree();
        let directory = worktree.path().join("x y");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("flake.nix"), "{ }").unwrap();
        let error = FlakeRef::find(&directory).unwrap_err();
        assert!(matches!(error, FlakeError::Path(_)), "{error}");
    }

    #[test]
    fn a_folder_outside_of_git_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("flake.nix"), "{ }").unwrap();
        let error = FlakeRef::find(directory.path()).unwrap_err();
        assert!(matches!(error, FlakeError::NoWorktree(_)), "{error}");
        assert!(error.hint().unwrap().contains("git -C"));
    }

    #[test]
    fn a_repository_that_git_refuses_is_reported_with_gits_own_reason() {
        let worktree = worktree();
        let directory = worktree.path().join("a-b");
        std::fs::write(worktree.path().join("a-b/.git"), "gitdir: /nowhere\n").unwrap();
        for result in [FlakeRef::find(&directory).map(drop), FlakeRef::has_worktree(&directory).map(drop)] {
            let error = result.unwrap_err();
            assert!(matches!(&error, FlakeError::Refused { message, .. } if message.contains("/nowhere")), "{error}");
            assert!(!error.hint().unwrap_or_default().contains("init"));
        }
    }

    #[test]
    fn a_repository_of_another_user_is_not_called_no_work_tree() {
        let worktree = worktree();
        let directory = worktree.path().join("a-b");
        for path in [worktree.path(), &worktree.path().join(".git")] {
            if std::os::unix::fs::chown(path, Some(65534), None).is_err() {
                eprintln!("skipped: only root can give a directory away");
                return;
            }
        }
        let error = FlakeRef::find(&directory).unwrap_err();
        assert!(error.to_string().contains("dubious ownership"), "{error}");
        assert!(error.hint().unwrap().contains("owner"), "{error}");
    }

    #[test]
    fn the_submodules_of_a_work_tree_are_known() {
        let worktree = worktree();
        let entry = "160000,ce013625030ba8dba906f756967f9e9ca394464a,modules/ours";
        let git = |arguments: &[&str]| Command::new("git").arg("-C").arg(worktree.path()).args(arguments).status();
        assert!(git(&["update-index", "--add", "--cacheinfo", entry]).unwrap().success());
        let flake = FlakeRef::find(&worktree.path().join("a-b")).unwrap();
        assert_eq!(flake.submodules().unwrap(), ["modules/ours"]);
    }

    #[test]
    fn a_folder_that_git_ignores_is_refused_with_what_to_do() {
        let worktree = worktree();
        let directory = worktree.path().join("a-b");
        assert!(FlakeRef::has_worktree(&directory).unwrap());
        std::fs::write(worktree.path().join(".gitignore"), "/a-b/\n").unwrap();
        assert!(!FlakeRef::has_worktree(&directory).unwrap());
        let error = FlakeRef::find(&directory).unwrap_err();
        assert!(matches!(error, FlakeError::Ignored(_)), "{error}");
    }

    #[test]
    fn untracked_files_become_visible_and_ignored_ones_stay_out() {
        let worktree = worktree();
        let directory = worktree.path().join("a-b");
        std::fs::write(directory.join(".gitignore"), "*.key\n").unwrap();
        std::fs::create_dir(directory.join("certs")).unwrap();
        std::fs::write(directory.join("certs/a.pem"), "public").unwrap();
        std::fs::write(directory.join("certs/a.key"), "secret").unwrap();
        FlakeRef::find(&directory).unwrap().make_visible(&["certs", "absent"]).unwrap();
        let listed = Command::new("git").arg("-C").arg(&directory).args(["ls-files"]).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "certs/a.pem\n");
    }
}
