//! Files and directories on the host's file system, with the sandbox's errors.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use super::error::Error;

/// Replaces a file durably: a reader sees the old or the new content, never part of one, even after a power failure.
pub(super) fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), Error> {
    machinist_durable::replace(path, contents, mode).map_err(Error::io("write", path))
}

/// Creates a directory with exactly this mode, regardless of the umask.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))
}

/// Removes a file; succeeds if it does not exist.
pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(Error::io("remove", path)),
    }
}
