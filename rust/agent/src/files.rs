//! Files of the agent, replaced atomically by rename. [`sync`] makes them durable across a power failure.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use machinist_mesh::{Pair, Store};

/// The first line of a state file.
const HEADER: &str = "machinist-mesh state 1";

/// Writes a temporary file beside the path. [`Prepared::put`] renames it. Until it is synced, a power failure may leave
/// an empty one.
pub fn prepare(path: &Path, text: &[u8]) -> io::Result<Prepared> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
    file.write_all(text)?;
    Ok(Prepared { new, path: path.to_owned() })
}

/// A temporary file, ready to be renamed.
pub struct Prepared {
    /// Path of the temporary file.
    pub new: PathBuf,
    path: PathBuf,
}

impl Prepared {
    /// Renames it to its final path.
    pub fn put(&self) -> io::Result<()> {
        fs::rename(&self.new, &self.path)
    }

    /// Syncs it, then renames it to its final path, so that it survives a power failure.
    pub fn put_synced(&self) -> io::Result<()> {
        File::open(&self.new)?.sync_all()?;
        self.put()?;
        sync_directory(&self.path)
    }
}

/// Syncs a file to disk. On a busy disk that takes some tenths of a second.
pub fn sync(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.sync_all().and_then(|()| sync_directory(path)),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Writes the last known content of etcd.
pub fn write_state(path: &Path, pairs: &[Pair]) -> io::Result<()> {
    let mut text = BufWriter::new(Vec::new());
    writeln!(text, "{HEADER}")?;
    for pair in pairs {
        serde_json::to_writer(&mut text, pair)?;
        text.write_all(b"\n")?;
    }
    let text = text.into_inner().map_err(io::IntoInnerError::into_error)?;
    prepare(path, &text)?.put_synced()
}

/// Reads the last known content of etcd. `None` if the file does not exist.
pub fn read_state(path: &Path) -> io::Result<Option<Store>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut lines = BufReader::new(file).lines();
    if lines.next().transpose()?.as_deref() != Some(HEADER) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "unsupported version"));
    }
    let pair = |line: io::Result<String>| Ok(serde_json::from_str::<Pair>(&line?)?);
    Ok(Some(Store::of(lines.map(pair).collect::<io::Result<Vec<Pair>>>()?)))
}

/// Makes a directory contain exactly these files. Unchanged files are not touched.
pub fn mirror(directory: &Path, wanted: &[(String, String)]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut names = BTreeSet::new();
    for (name, text) in wanted {
        let path = directory.join(name);
        if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            prepare(&path, text.as_bytes())?.put()?;
        }
        names.insert(name.as_str());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use machinist_mesh::Pair;

    use super::{mirror, read_state, write_state};

    #[test]
    fn the_state_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert!(read_state(&path).unwrap().is_none());
        let value = "{\"publish\":{\"port\":80}}\n\"".to_owned();
        let pair = Pair { key: "/cluster/services/a/meta_data".to_owned(), value, created: 3, modified: 4 };
        write_state(&path, std::slice::from_ref(&pair)).unwrap();
        assert_eq!(read_state(&path).unwrap().unwrap().pairs().collect::<Vec<_>>(), [pair]);
        for damaged in ["", "machinist-mesh state 2\n", "machinist-mesh state 1\n{\"key\":\"/clus"] {
            fs::write(&path, damaged).unwrap();
            assert!(read_state(&path).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn a_directory_holds_the_wanted_files_only() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        mirror(directory.path(), &[file("a", "1"), file("b", "2")]).unwrap();
        mirror(directory.path(), &[file("b", "3")]).unwrap();
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["b"]);
        assert_eq!(fs::read_to_string(directory.path().join("b")).unwrap(), "3");
    }
}
