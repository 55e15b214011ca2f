//! Archives of store paths, byte for byte as `nix-store --dump` writes them (Nix manual, "Nix Archive (NAR) format").
//!
//! The crate `nix-nar` rejects file names that are not UTF-8, which some packages have.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

/// Writes the archive of a file, a symbolic link or a directory with its content.
///
/// # Errors
/// Something cannot be read or written, has an unsupported type, or changes in the meantime.
pub fn write(path: &Path, out: &mut impl Write) -> io::Result<()> {
    string(out, b"nix-archive-1")?;
    entry(path, out)
}

fn entry(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path).map_err(|error| named(path, &error))?;
    string(out, b"(")?;
    string(out, b"type")?;
    if metadata.is_symlink() {
        string(out, b"symlink")?;
        string(out, b"target")?;
        string(out, fs::read_link(path).map_err(|error| named(path, &error))?.as_os_str().as_bytes())?;
    } else if metadata.is_file() {
        string(out, b"regular")?;
        if metadata.permissions().mode() & 0o100 != 0 {
            string(out, b"executable")?;
            string(out, b"")?;
        }
        string(out, b"contents")?;
        contents(path, metadata.len(), out)?;
    } else if metadata.is_dir() {
        string(out, b"directory")?;
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut names: Vec<_> =
            entries.map_err(|error| named(path, &error))?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        for name in names {
            string(out, b"entry")?;
            string(out, b"(")?;
            string(out, b"name")?;
            string(out, name.as_bytes())?;
            string(out, b"node")?;
            entry(&path.join(&name), out)?;
            string(out, b")")?;
        }
    } else {
        return Err(named(path, &io::Error::other("neither a file nor a link nor a directory")));
    }
    string(out, b")")
}

fn contents(path: &Path, length: u64, out: &mut impl Write) -> io::Result<()> {
    out.write_all(&length.to_le_bytes())?;
    let file = File::open(path).map_err(|error| named(path, &error))?;
    let copied = io::copy(&mut file.take(length), out)?;
    if copied != length {
        return Err(named(path, &io::Error::other("it became shorter while it was read")));
    }
    padding(out, length)
}

/// Writes a string in the format of archives and exports: its length, its bytes, zeros up to a multiple of eight.
pub(crate) fn string(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(&(bytes.len() as u64).to_le_bytes())?;
    out.write_all(bytes)?;
    padding(out, bytes.len() as u64)
}

fn padding(out: &mut impl Write, length: u64) -> io::Result<()> {
    let missing = usize::try_from((8 - length % 8) % 8).unwrap_or(0);
    out.write_all(&[0; 8][..missing])
}

/// Returns an error of reading. It keeps the message but not the kind, so that it is not taken for an error of writing.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, os::unix::fs::PermissionsExt, process::Command};

    #[test]
    fn an_archive_is_the_one_that_nix_makes() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::create_dir_all(root.join("a.d/nested")).unwrap();
        for length in [0, 1, 7, 8, 9, 100_000] {
            fs::write(root.join(format!("a.d/{length}")), vec![b'x'; length]).unwrap();
        }
        // Sorted by bytes, `a.d` comes before `a/`, and a name need not be UTF-8.
        fs::write(root.join("a"), "a").unwrap();
        fs::write(root.join(OsStr::from_bytes(b"a.d/nested/\xff")), "").unwrap();
        std::os::unix::fs::symlink("../nowhere at all", root.join("link")).unwrap();
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o555)).unwrap();
        for path in [root.clone(), root.join("a"), root.join("link")] {
            let mut ours = Vec::new();
            super::write(&path, &mut ours).unwrap();
            let theirs = Command::new("nix-store").arg("--dump").arg(&path).output().unwrap().stdout;
            assert!(ours == theirs && !ours.is_empty(), "{}", path.display());
        }
    }

    #[test]
    fn what_cannot_be_archived_is_named() {
        let error = super::write(std::path::Path::new("/dev/null"), &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/dev/null: neither"), "{error}");
    }
}
