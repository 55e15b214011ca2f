//! Dependencies of an evaluation outside the flake's own files: replaced inputs, nix itself and its settings.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use sha2::Sha256;

use crate::Override;

/// Maximum number of entries of a directory. Reading more takes longer than it saves.
const ENTRIES: usize = 20_000;

/// Adds all replaced inputs to the digest.
///
/// # Errors
/// The content of an input cannot be determined cheaply; the message names the input.
pub(super) fn add_overrides(digest: &mut Sha256, overrides: &[Override]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for Override { input, reference } in overrides {
        super::add(digest, input.as_bytes());
        super::add(digest, reference.as_bytes());
        if is_fixed(reference) || !seen.insert(reference) {
            continue;
        }
        let added = match (directory(reference), worktree(reference)) {
            (Some(directory), _) => add_directory(digest, Path::new(directory), &mut 0),
            (None, Some(worktree)) => add_worktree(digest, Path::new(worktree)),
            (None, None) => Err("unlocked".to_owned()),
        };
        added.map_err(|why| format!("the input {input} is {reference}: {why}"))?;
    }
    Ok(())
}

/// Returns the directory of a `path:` reference without parameters.
pub(super) fn directory(reference: &str) -> Option<&str> {
    let path = reference.strip_prefix("path:").unwrap_or(reference);
    (path.starts_with('/') && !path.contains(['?', '#', '%'])).then_some(path)
}

/// Returns the work tree of a `git+file:` reference without parameters.
fn worktree(reference: &str) -> Option<&str> {
    let path = reference.strip_prefix("git+file://")?;
    (path.starts_with('/') && !path.contains(['?', '#', '%'])).then_some(path)
}

/// Returns the directory of a replaced input's files on this computer.
pub(super) fn tree(reference: &str) -> Option<&str> {
    directory(reference).or_else(|| worktree(reference))
}

/// Returns true if the reference's text determines the content: a commit, or a path of the store.
fn is_fixed(reference: &str) -> bool {
    let is_commit = |word: &str| word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    directory(reference).is_some_and(|path| path.starts_with("/nix/store/"))
        || (reference.starts_with("github:") && reference.split('/').nth(2).is_some_and(is_commit))
        || reference.split(['?', '&']).any(|pair| pair.strip_prefix("rev=").is_some_and(is_commit))
}

/// Adds names, modes, sizes and times. The change time of an inode cannot be set back, so equal ones mean equal content
/// without reading it.
fn add_directory(digest: &mut Sha256, directory: &Path, entries: &mut usize) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.path());
    }
    names.sort();
    *entries += names.len();
    if *entries > ENTRIES {
        return Err(format!("more than {ENTRIES} files"));
    }
    for path in names {
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        super::add(digest, path.as_os_str().as_bytes());
        add_status(digest, &metadata);
        if metadata.is_dir() {
            add_directory(digest, &path, entries)?;
        }
    }
    Ok(())
}

/// Adds a flake's view of a work tree: the files that git tracks, by their status, and the commit.
fn add_worktree(digest: &mut Sha256, worktree: &Path) -> Result<(), String> {
    let ask = |arguments: &[&str]| crate::flake::read(worktree, arguments).map_err(|error| error.to_string());
    let listed = ask(&["ls-files", "-z", "--stage"])?;
    for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        if entry.starts_with(b"160000") {
            return Err("a submodule".to_owned());
        }
        // The blob of the index too: a file that is deleted from the work tree has no status.
        super::add(digest, entry);
        let name = entry.splitn(2, |byte| *byte == b'\t').nth(1).unwrap_or_default();
        if let Ok(metadata) = fs::symlink_metadata(worktree.join(std::ffi::OsStr::from_bytes(name))) {
            add_status(digest, &metadata);
        }
    }
    let commit = crate::flake::git(worktree, &["rev-parse", "--verify", "--quiet", "HEAD"]);
    super::add(digest, &commit.map_err(|error| error.to_string())?.stdout);
    Ok(())
}

fn add_status(digest: &mut Sha256, metadata: &fs::Metadata) {
    // A directory's own times change with its entries, which are listed anyway.
    if metadata.is_dir() {
        return super::add(digest, b"directory");
    }
    let numbers = [metadata.ino(), u64::from(metadata.mode()), metadata.size()];
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    numbers.iter().for_each(|number| super::add(digest, &number.to_le_bytes()));
    times.iter().for_each(|time| super::add(digest, &time.to_le_bytes()));
}

/// Adds the version of nix and its settings.
///
/// # Errors
/// The settings may give an evaluation access to more than its flake.
pub(super) fn add_nix(digest: &mut Sha256) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|directory| directory.join("nix")).find(|file| file.is_file());
    if let Some(program) = program.and_then(|program| program.canonicalize().ok()) {
        super::add(digest, program.as_os_str().as_bytes());
        if let Ok(metadata) = fs::metadata(&program) {
            add_status(digest, &metadata);
        }
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let user = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    let system = std::env::var_os("NIX_CONF_DIR").map_or_else(|| PathBuf::from("/etc/nix"), PathBuf::from);
    let others = std::env::var_os("NIX_USER_CONF_FILES").unwrap_or_default();
    let files = [Some(system.join("nix.conf")), user.map(|user| user.join("nix/nix.conf"))].into_iter().flatten();
    let mut settings = std::env::var("NIX_CONFIG").unwrap_or_default();
    for file in files.chain(std::env::split_paths(&others)) {
        settings.push('\n');
        settings.push_str(&String::from_utf8_lossy(&fs::read(file).unwrap_or_default()));
    }
    let loosens = |line: &str| {
        let word = line.trim_start().trim_start_matches("extra-");
        ["pure-eval", "impure", "include", "!include", "plugin-files"].iter().any(|name| word.starts_with(name))
    };
    if let Some(line) = settings.lines().find(|line| loosens(line)) {
        return Err(format!("the setting `{}`", line.trim()));
    }
    super::add(digest, settings.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sha2::{Digest, Sha256};

    use super::add_overrides;
    use crate::Override;

    fn digest(reference: &str) -> Result<Vec<u8>, String> {
        let mut digest = Sha256::new();
        let reference = reference.to_owned();
        add_overrides(&mut digest, &[Override { input: "nixpkgs".to_owned(), reference }])?;
        Ok(digest.finalize().to_vec())
    }

    #[test]
    fn an_input_counts_only_if_its_content_can_be_determined() {
        let commit = "8eeec934ae0dbeca3d7868c059568a65c08b2fc3";
        for (reference, fixed) in [
            (format!("github:NixOS/nixpkgs/{commit}"), true),
            (format!("git+https://example.org/x?ref=main&rev={commit}"), true),
            ("path:/nix/store/0123456789abcdfghijklmnpqrsvwxyz-source".to_owned(), true),
            ("github:NixOS/nixpkgs/nixos-26.05".to_owned(), false),
            ("git+file:///does/not/exist".to_owned(), false),
            ("nixpkgs".to_owned(), false),
            ("path:./nixpkgs".to_owned(), false),
            ("path:/does/not/exist".to_owned(), false),
        ] {
            assert_eq!(digest(&reference).is_ok(), fixed, "{reference}");
        }
    }

    #[test]
    fn a_tracked_file_of_a_replaced_work_tree_counts_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = crate::program("git");
            command.arg("-C").arg(directory.path()).args(["-c", "user.name=t", "-c", "user.email=t@localhost"]);
            assert!(command.args(arguments).status().unwrap().success(), "git {arguments:?}");
        };
        git(&["init", "-q"]);
        let file = directory.path().join("a.nix");
        std::fs::write(&file, "1").unwrap();
        git(&["add", "a.nix"]);
        git(&["commit", "-qm", "x"]);
        let reference = format!("git+file://{}", directory.path().display());
        let first = digest(&reference).unwrap();
        std::fs::write(directory.path().join("not-tracked"), "1").unwrap();
        assert_eq!(digest(&reference).unwrap(), first);
        git(&["commit", "-q", "--allow-empty", "-m", "y"]);
        let committed = digest(&reference).unwrap();
        assert_ne!(committed, first);
        std::fs::remove_file(&file).unwrap();
        let removed = digest(&reference).unwrap();
        assert_ne!(removed, committed);
        std::fs::write(&file, "2").unwrap();
        assert!(![first, committed, removed].contains(&digest(&reference).unwrap()));
    }

    #[test]
    fn a_file_of_a_replaced_input_that_is_changed_added_or_removed_counts() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("lib")).unwrap();
        let file = directory.path().join("lib/a.nix");
        std::fs::write(&file, "1").unwrap();
        let reference = format!("path:{}", directory.path().display());
        let first = digest(&reference).unwrap();
        assert_eq!(digest(&reference).unwrap(), first);
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&file, "2").unwrap();
        let changed = digest(&reference).unwrap();
        assert_ne!(changed, first);
        std::fs::write(directory.path().join("lib/b.nix"), "2").unwrap();
        assert_ne!(digest(&reference).unwrap(), changed);
        std::fs::remove_file(directory.path().join("lib/b.nix")).unwrap();
        assert_eq!(digest(&reference).unwrap(), changed);
    }
}
