//! Manifest files of a directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Document, ManifestError, parse};

/// Extensions of manifests. Other files, such as a README, are ignored.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// Reads all manifests of `directory` below `root`, sorted by path. Paths in places are relative to `root`. A missing
/// directory has none.
///
/// # Errors
/// One error per invalid file, sorted by path.
pub fn read(root: &Path, directory: &str) -> Result<Vec<Document>, Vec<ManifestError>> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    list(root, Path::new(directory), &mut files, &mut errors);
    files.sort();
    let mut documents = Vec::new();
    for file in files {
        let read = fs::read_to_string(root.join(&file));
        match read
            .map_err(|source| ManifestError::Read { file: file.clone(), source })
            .and_then(|text| parse(&file, &text))
        {
            Ok(found) => documents.extend(found),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(documents) } else { Err(errors) }
}

/// Collects the files below `directory`. Hidden ones are skipped, and links to directories are not followed.
fn list(root: &Path, directory: &Path, files: &mut Vec<PathBuf>, errors: &mut Vec<ManifestError>) {
    let entries = match fs::read_dir(root.join(directory)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(source) => return errors.push(ManifestError::Read { file: directory.to_owned(), source }),
    };
    for entry in entries {
        let (path, kind) = match entry.and_then(|entry| Ok((directory.join(entry.file_name()), entry.file_type()?))) {
            Ok(found) => found,
            Err(source) => {
                errors.push(ManifestError::Read { file: directory.to_owned(), source });
                continue;
            }
        };
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_manifest =
            || path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
        if is_hidden {
            continue;
        }
        if kind.is_dir() {
            list(root, &path, files, errors);
        } else if is_manifest() {
            files.push(path);
        }
    }
}
