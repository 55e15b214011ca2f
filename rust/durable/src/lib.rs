//! Atomic replacement of files that survives a power cut.
//!
//! The only way in which machinist writes files that it needs again: the contents are written to a temporary file
//! beside the target, the file is synced and renamed, and its directory is synced. A reader sees the old contents or
//! the new ones, a full disk is an error of the writer, and a file reported as written still exists after a reset.
//! Start with [`replace`].

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io::{self, Write},
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use tempfile::{NamedTempFile, TempPath};

/// Prefix and suffix of the names of temporary files, which a killed process leaves behind.
pub const TEMPORARY: (&str, &str) = (".machinist-", ".tmp");

/// The number of files from which one sync of their file system is cheaper than one of each file.
const MANY: usize = 32;

/// A file written under a temporary name. Dropping it without [`Staged::place`] removes it.
#[derive(Debug)]
pub struct Staged {
    temporary: TempPath,
    path: PathBuf,
}

/// A file that is written bit by bit, and has no name until [`Unnamed::place`]: nothing of it remains, even if the process
/// is killed. Where the file system has no such files, it has a temporary name, which only a kill leaves behind.
#[derive(Debug)]
pub struct Unnamed {
    file: File,
    /// Its name, on a file system without files that have none.
    temporary: Option<TempPath>,
    directory: PathBuf,
}

/// One of several files that could not be put in place.
#[allow(missing_docs, reason = "`path` is the target, `source` the system's error")]
#[derive(Debug)]
pub struct Unplaced {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Replaces or creates the file, with exactly this mode.
///
/// # Errors
/// It is not writable; it is unchanged, unless only the sync of its directory failed.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    stage(path, contents, mode)?.place()
}

/// Creates the file, with exactly this mode.
///
/// # Errors
/// It exists ([`io::ErrorKind::AlreadyExists`]), or is not writable.
pub fn create(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let staged = stage(path, contents, mode)?;
    staged.temporary.persist_noclobber(path).map_err(|error| error.error)?;
    sync_directory(directory_of(path))
}

/// Moves a complete temporary file beside the target into place.
///
/// # Errors
/// It cannot be synced or renamed.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory_of(path))
}

/// Renames a complete file or directory. The content of a directory is not synced.
///
/// # Errors
/// It cannot be synced or renamed.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    sync_directory(directory_of(to))
}

/// Writes a file under a temporary name, and waits until it is on disk.
///
/// # Errors
/// It is not writable; nothing of it remains.
pub fn stage(path: &Path, contents: &[u8], mode: u32) -> io::Result<Staged> {
    let staged = stage_unsynced(path, contents, mode)?;
    staged.sync()?;
    Ok(staged)
}

/// Writes a file under a temporary name. The caller must call [`sync_all`] afterwards.
///
/// # Errors
/// It is not writable; nothing of it remains.
pub fn stage_unsynced(path: &Path, contents: &[u8], mode: u32) -> io::Result<Staged> {
    let mut file = temporary_in(directory_of(path))?;
    file.write_all(contents)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    // The file is closed here: thousands of open ones would exceed the process' limit.
    Ok(Staged { temporary: file.into_temp_path(), path: path.to_owned() })
}

impl Staged {
    fn sync(&self) -> io::Result<()> {
        File::open(&self.temporary)?.sync_all()
    }

    /// Moves the file into place.
    ///
    /// # Errors
    /// It cannot be renamed, or its directory cannot be synced.
    pub fn place(self) -> io::Result<()> {
        self.temporary.persist(&self.path).map_err(|error| error.error)?;
        sync_directory(directory_of(&self.path))
    }
}

impl Unnamed {
    /// Begins a file in a directory, for its owner only.
    ///
    /// # Errors
    /// The directory is not writable.
    pub fn begin(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(Self { file: file.into(), temporary: None, directory: directory.to_owned() });
        }
        let (file, temporary) = temporary_in(directory)?.into_parts();
        Ok(Self { file, temporary: Some(temporary), directory: directory.to_owned() })
    }

    /// Gives the complete file its name in the same directory, in place of an earlier file of that name.
    ///
    /// # Errors
    /// It cannot be synced, named or renamed.
    pub fn place(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        let temporary = match self.temporary {
            Some(temporary) => temporary,
            None => named(&self.file, &self.directory)?,
        };
        temporary.persist(path).map_err(|error| error.error)?;
        sync_directory(directory_of(path))
    }
}

impl Write for Unnamed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Gives a file without a name a temporary one: a link never replaces a file.
fn named(file: &File, directory: &Path) -> io::Result<TempPath> {
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |path: &Path| {
        rustix::fs::linkat(CWD, &*descriptor, CWD, path, AtFlags::SYMLINK_FOLLOW).map_err(io::Error::from)
    };
    let linked = tempfile::Builder::new().prefix(TEMPORARY.0).suffix(TEMPORARY.1).make_in(directory, link)?;
    Ok(linked.into_temp_path())
}

fn temporary_in(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY.0).suffix(TEMPORARY.1).tempfile_in(directory)
}

/// Waits until all of these files are on disk, regardless of their number.
///
/// # Errors
/// A file, or the file system that they are on, cannot be synced.
pub fn sync_all(staged: &[Staged]) -> Result<(), Unplaced> {
    let failed = |staged: &Staged| {
        let path = staged.path.clone();
        |source| Unplaced { path, source }
    };
    if staged.len() < MANY {
        return staged.iter().try_for_each(|staged| staged.sync().map_err(failed(staged)));
    }
    let Some(first) = staged.first() else { return Ok(()) };
    let sync = || rustix::fs::syncfs(File::open(directory_of(&first.path))?).map_err(io::Error::from);
    sync().map_err(failed(first))
}

/// Moves all of these files into place, in their order, and syncs each directory once.
///
/// # Errors
/// A file cannot be renamed. The files before it are replaced, those after it unchanged.
pub fn place_all(staged: Vec<Staged>) -> Result<(), Unplaced> {
    let mut directories = BTreeSet::new();
    for Staged { temporary, path } in staged {
        directories.insert(directory_of(&path).to_owned());
        temporary.persist(&path).map_err(|error| Unplaced { path, source: error.error })?;
    }
    directories.into_iter().try_for_each(|path| sync_directory(&path).map_err(|source| Unplaced { path, source }))
}

/// Creates a directory and its missing parents, and waits until they are on disk.
///
/// # Errors
/// One of them cannot be created.
pub fn create_directories(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !exists(path)).collect();
    fs::create_dir_all(directory)?;
    missing.into_iter().try_for_each(|made| sync_directory(directory_of(made)))
}

/// Removes temporary files that killed processes left in the directory. No other process may be writing there.
///
/// # Errors
/// The directory cannot be read, or a file cannot be removed.
pub fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1));
        if is_ours {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Waits until the names of the directory's files are on disk.
///
/// # Errors
/// It cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Returns the directory that contains the file.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        for (text, mode) in [("one", 0o600), ("two", 0o644)] {
            replace(&path, text.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(names(root.path()), ["a"]);
    }

    #[test]
    fn a_file_that_is_not_complete_has_no_name() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, "before").unwrap();
        let mut cut_off = Unnamed::begin(root.path()).unwrap();
        cut_off.write_all(b"ha").unwrap();
        assert_eq!(names(root.path()), ["a"]);
        // A killed process runs no destructor.
        std::mem::forget(cut_off);
        assert_eq!(names(root.path()), ["a"]);
        let mut whole = Unnamed::begin(root.path()).unwrap();
        whole.write_all(b"half and half").unwrap();
        whole.place(&path).unwrap();
        assert_eq!(
            (names(root.path()), fs::read_to_string(&path).unwrap()),
            (vec!["a".to_owned()], "half and half".to_owned())
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn an_existing_file_is_not_created_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        create(&path, b"one", 0o600).unwrap();
        assert_eq!(create(&path, b"two", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&path).unwrap(), names(root.path()).len()), (b"one".to_vec(), 1));
    }

    #[test]
    fn many_files_are_placed_in_their_order_or_none_is() {
        let root = tempfile::tempdir().unwrap();
        let path = |n: usize| root.path().join(format!("f{n:03}"));
        let all: Vec<Staged> = (0..MANY * 2).map(|n| stage_unsynced(&path(n), b"x", 0o644).unwrap()).collect();
        sync_all(&all).unwrap();
        drop(all);
        assert!(names(root.path()).is_empty());
        let all: Vec<Staged> = (0..3).map(|n| stage_unsynced(&path(n), b"x", 0o644).unwrap()).collect();
        sync_all(&all).unwrap();
        place_all(all).unwrap();
        assert_eq!(names(root.path()), ["f000", "f001", "f002"]);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        // Killed before the rename.
        std::mem::forget(stage(&path("a"), b"x", 0o600).unwrap());
        fs::write(path("b.tmp"), "").unwrap();
        assert_eq!(names(root.path()).len(), 2);
        remove_leftovers(root.path()).unwrap();
        assert_eq!(names(root.path()), ["b.tmp"]);
    }

    #[test]
    fn directories_are_made_down_to_the_last() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b/c");
        create_directories(&directory).unwrap();
        create_directories(&directory).unwrap();
        assert!(directory.is_dir());
        fs::write(root.path().join("file"), "").unwrap();
        assert!(create_directories(&root.path().join("file/x")).is_err());
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_old_file_stays() {
        let Some(disk) = SmallDisk::mount() else {
            eprintln!("skipped: only root can mount a small file system");
            return;
        };
        let path = disk.0.path().join("a");
        replace(&path, b"old", 0o644).unwrap();
        let error = replace(&path, &[b'x'; 1 << 20], 0o644).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!((fs::read(&path).unwrap(), names(disk.0.path())), (b"old".to_vec(), vec!["a".to_owned()]));
    }

    /// A tmpfs of 64 KiB, if the test may mount one.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Option<Self> {
            let directory = tempfile::tempdir().unwrap();
            let mounted = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
                .arg(directory.path())
                .status()
                .is_ok_and(|status| status.success());
            mounted.then_some(Self(directory))
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ended = std::process::Command::new("umount").arg(self.0.path()).status();
        }
    }
}
