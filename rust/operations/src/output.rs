//! Result files named on the command line, such as `--output FILE`. A regular file, behind its links, is replaced
//! atomically; anything else (a device, a pipe, `/dev/stdout`, `>(command)`) is opened and written to.

use crate::files::FileError;

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Maximum number of links followed by hand, the same as Linux (path_resolution(7)).
const LINKS: usize = 40;

/// Target of an output path, once its links are resolved.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A regular file at the end of the links, or a file that does not exist yet.
    Replace(PathBuf),
    /// An existing device, pipe or socket, which is kept.
    Open,
}

/// Writes a result to the file. A new file gets the permissions `mode` when it is created, before the first byte.
///
/// # Errors
/// The file cannot be written completely. A reader that closed its end is not an error.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let written = match place(path) {
        Ok(Place::Replace(target)) => replace(&target, content, mode),
        Ok(Place::Open) => open(path, content),
        Err(error) => Err(error),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| FileError::Write { path: path.to_owned(), source }),
    }
}

/// Resolves the links of the path. A target behind /proc is already open, and replacing it would not affect its
/// readers: `/dev/stdout` is such a link even when it points to a regular file.
fn place(path: &Path) -> io::Result<Place> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Ok(Place::Open);
    }
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let directory = parent(&target);
        if directory.canonicalize().is_ok_and(|directory| directory.starts_with("/proc")) {
            return Ok(Place::Open);
        }
        match fs::read_link(&target) {
            Ok(link) => target = directory.join(link),
            Err(_) => return Ok(Place::Replace(target)),
        }
    }
    Err(io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error()))
}

fn replace(target: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = parent(target);
    fs::create_dir_all(directory)?;
    let permissions = Permissions::from_mode(mode);
    let mut temporary =
        tempfile::Builder::new().prefix(".machinist-").permissions(permissions).tempfile_in(directory)?;
    temporary.write_all(content)?;
    temporary.as_file().sync_all()?;
    temporary.persist(target).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}

/// Appends the content, to keep the existing content of an open file.
fn open(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(content)?;
    file.flush()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr)]
    use std::{
        fs,
        io::Read as _,
        os::{
            fd::AsRawFd as _,
            unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
        },
        path::Path,
    };

    use super::write;

    #[test]
    fn output_to_a_device_leaves_the_device_and_reports_that_it_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let full = directory.path().join("full");
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o600));
        // A device node in the test's own directory: no test writes to /dev. Creating one requires root.
        let made = rustix::fs::mknodat(rustix::fs::CWD, &full, kind, mode, rustix::fs::makedev(1, 7));
        if made.is_err() || fs::OpenOptions::new().write(true).open(&full).is_err() {
            eprintln!("skipped: no device can be made here");
            return;
        }
        let error = write(&full, b"text", 0o600).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", full.display()));
        assert!(fs::metadata(&full).unwrap().file_type().is_char_device());
        let link = directory.path().join("link");
        symlink(&full, &link).unwrap();
        write(&link, b"text", 0o600).unwrap_err();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn output_to_a_link_reaches_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/target"), "old").unwrap();
        symlink("d/target", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        write(&at("second"), b"new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(at("d/target")).unwrap(), "new");
        assert!(fs::symlink_metadata(at("second")).unwrap().is_symlink());
        symlink("d/absent", at("dangling")).unwrap();
        write(&at("dangling"), b"made", 0o600).unwrap();
        assert_eq!(fs::read_to_string(at("d/absent")).unwrap(), "made");
        symlink("circle", at("circle")).unwrap();
        write(&at("circle"), b"x", 0o600).unwrap_err();
    }

    #[test]
    fn output_to_an_open_descriptor_is_written_to_what_is_open() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        write(Path::new(&format!("/proc/self/fd/{}", writer.as_raw_fd())), b"text", 0o600).unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "before ").unwrap();
        let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let inode = file.metadata().unwrap().ino();
        let link = directory.path().join("stdout");
        symlink(format!("/proc/self/fd/{}", file.as_raw_fd()), &link).unwrap();
        write(&link, b"after", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before after");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let (reader, writer) = std::io::pipe().unwrap();
        let end = writer.try_clone().unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", end.as_raw_fd());
        drop(reader);
        write(Path::new(&path), b"text", 0o600).unwrap();
    }

    #[test]
    fn a_plain_file_is_replaced_whole_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/kubeconfig");
        write(&path, b"one", 0o600).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        write(directory.path(), b"x", 0o600).unwrap_err();
    }
}
