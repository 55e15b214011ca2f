//! Deletion of directory trees that never crosses a mount point.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::error::Error;

/// Removes a directory with its contents, unless something is mounted in it; succeeds if it does not exist.
pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    let mounts = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(mounts).map_err(Error::io("read", mounts))?;
    // The kernel reports mounts by their real path.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(mount) = mount_below(&text, &real) {
        return Err(Error::Mounted { path: path.to_owned(), mount });
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io("remove", path)),
    }
}

/// Field 5 of proc_pid_mountinfo(5) is the mount point, with a space escaped as `\040`; our paths have no spaces.
fn mount_below(mountinfo: &str, path: &Path) -> Option<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    points.into_iter().find(|point| point.starts_with(path)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_mount_below_a_path_is_seen_and_one_beside_it_is_not() {
        let text = "22 1 8:1 / / rw - ext4 /dev/vda rw\n30 22 0:5 / /state/a/merged rw - overlay overlay rw\n";
        assert_eq!(mount_below(text, Path::new("/state/a")), Some("/state/a/merged".into()));
        assert_eq!(mount_below(text, Path::new("/state/a/merged")), Some("/state/a/merged".into()));
        assert_eq!(mount_below(text, Path::new("/state/a/mer")), None);
        assert_eq!(mount_below(text, Path::new("/state/b")), None);
    }

    #[test]
    fn a_tree_that_is_gone_is_removed_already() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
