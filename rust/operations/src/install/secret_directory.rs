//! Directory for the private keys of a machine that is being installed: in memory if possible, private to its owner, and
//! removed afterwards. A process that is killed leaves it, and the next installation removes it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use tempfile::TempDir;

/// Beginning of the directories' names. Earlier versions, which may be running too, have `machinist-install-` and no lock.
const PREFIX: &str = "machinist-install.";

/// Attempts to create a directory. One is lost if another process takes it for a left one before it is locked.
const ATTEMPTS: u8 = 8;

/// The directory. It is locked as long as it is in use: the lock ends with the process, however that ends.
pub struct SecretDirectory {
    // Removed before the lock is released.
    directory: TempDir,
    _lock: File,
}

impl SecretDirectory {
    /// Creates one.
    ///
    /// # Errors
    /// It cannot be created or locked.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&parent())
    }

    fn new_in(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let private = fs::Permissions::from_mode(0o700);
            let directory = tempfile::Builder::new().prefix(PREFIX).permissions(private).tempdir_in(parent)?;
            let Ok(lock) = open(directory.path()) else { continue };
            flock(&lock, FlockOperation::LockExclusive)?;
            if is_at(&lock, directory.path()) {
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(io::Error::other("other installations remove it before it is in use"))
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes the directories that processes of this user left which were killed; never one that is in use. Returns those
/// that could not be removed.
pub fn remove_left() -> Vec<PathBuf> {
    remove_left_in(&parent())
}

fn remove_left_in(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.map(|entry| entry.path()).filter(|path| remove_if_left(path).is_err()).collect()
}

fn remove_if_left(path: &Path) -> io::Result<()> {
    // A link, a file, or the directory of another user, who can write beside it.
    let Ok(lock) = open(path) else { return Ok(()) };
    if lock.metadata()?.uid() != rustix::process::geteuid().as_raw() || !is_at(&lock, path) {
        return Ok(());
    }
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => fs::remove_dir_all(path),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn parent() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Returns true if the path still leads to the open directory.
fn is_at(open: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (open.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, path::PathBuf};

    use super::{PREFIX, SecretDirectory, remove_left_in};

    #[test]
    fn what_a_killed_installation_left_is_removed_and_what_is_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(format!("{PREFIX}{name}"));
        let left = at("left");
        fs::create_dir_all(left.join("root/etc/ssh")).unwrap();
        fs::write(left.join("root/etc/ssh/key"), "secret").unwrap();
        let other = parent.path().join("machinist-other");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, at("link")).unwrap();
        fs::write(at("file"), "").unwrap();

        let used = SecretDirectory::new_in(parent.path()).unwrap();
        fs::write(used.path().join("key"), "secret").unwrap();
        assert_eq!(remove_left_in(parent.path()), Vec::<PathBuf>::new());
        assert!(!left.exists());
        assert!(used.path().join("key").exists() && other.exists() && at("link").exists() && at("file").exists());

        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }

    #[test]
    fn directories_that_others_remove_meanwhile_are_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    remove_left_in(parent.path());
                }
            });
            for _ in 0..200 {
                let used = SecretDirectory::new_in(parent.path());
                // All attempts may be lost against a loop that does nothing else; what is given is kept.
                if let Ok(used) = used {
                    fs::write(used.path().join("key"), "secret").unwrap();
                    assert!(used.path().join("key").exists());
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
