//! Last build of each node, in `.machinist/cache`. Purely an optimisation: a missing or damaged entry leads to a
//! rebuild.

use std::{
    fs,
    path::{Path, PathBuf},
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// Cached build of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Digest of the build's inputs; empty if they cannot be determined, and then never matched.
    key: String,
    /// Result of the build.
    pub system: StorePath,
    /// Its derivation. Missing in entries of older versions.
    #[serde(default)]
    pub derivation: Option<StorePath>,
    /// Warnings of the evaluation, including those of nodes evaluated together with it.
    pub warnings: Vec<String>,
    /// Name of the link that protects it from garbage collection.
    link: String,
}

impl Entry {
    /// Creates an entry.
    pub const fn new(
        key: String,
        system: StorePath,
        derivation: Option<StorePath>,
        warnings: Vec<String>,
        link: String,
    ) -> Self {
        Self { key, system, derivation, warnings, link }
    }
}

/// Cache of builds: one file per node, and the links.
pub struct Cache {
    entries: PathBuf,
    links: PathBuf,
}

impl Cache {
    /// Opens the cache in these directories.
    pub const fn new(entries: PathBuf, links: PathBuf) -> Self {
        Self { entries, links }
    }

    /// Returns the directory of the links.
    pub fn links(&self) -> &Path {
        &self.links
    }

    /// Returns the node's entry if its digest matches and its link still protects the system.
    pub fn find(&self, node: &NodeName, key: &str) -> Option<Entry> {
        let entry = self.read(node).filter(|entry| entry.key == key)?;
        let kept = fs::read_link(self.links.join(&entry.link)).ok()?;
        (kept == Path::new(entry.system.as_str())).then_some(entry)
    }

    fn read(&self, node: &NodeName) -> Option<Entry> {
        let entry: Entry = serde_json::from_slice(&fs::read(self.file(node)).ok()?).ok()?;
        let is_name = !entry.link.is_empty() && !entry.link.contains('/') && !entry.link.starts_with('.');
        is_name.then_some(entry)
    }

    fn file(&self, node: &NodeName) -> PathBuf {
        self.entries.join(format!("{node}.json"))
    }

    /// Replaces the entry of the node. The previous entry's link is removed afterwards.
    pub fn put(&self, node: &NodeName, entry: &Entry) -> Result<(), FileError> {
        let before = self.read(node);
        let text = serde_json::to_string(entry).unwrap_or_default();
        files::write(&self.file(node), &text)?;
        match before {
            Some(before) if before.link != entry.link => files::remove(&self.links.join(before.link)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::symlink};

    use machinist_model::NodeName;
    use machinist_nix::StorePath;

    use super::{Cache, Entry};

    fn system(name: &str) -> StorePath {
        StorePath::parse(&format!("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-{name}")).unwrap()
    }

    fn cache() -> (tempfile::TempDir, Cache, NodeName) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("cache"), directory.path().join("systems"));
        fs::create_dir(cache.links()).unwrap();
        (directory, cache, NodeName::parse("a").unwrap())
    }

    fn put(cache: &Cache, node: &NodeName, key: &str, link: &str) -> Entry {
        symlink(system(key).as_str(), cache.links().join(link)).unwrap();
        let entry = Entry::new(key.to_owned(), system(key), None, vec!["old".to_owned()], link.to_owned());
        cache.put(node, &entry).unwrap();
        entry
    }

    #[test]
    fn an_entry_is_found_by_its_digest_only() {
        let (_directory, cache, node) = cache();
        let entry = put(&cache, &node, "1", "x");
        assert_eq!(cache.find(&node, "1"), Some(entry));
        assert_eq!(cache.find(&node, "2"), None);
    }

    #[test]
    fn a_system_that_nothing_keeps_any_more_is_not_taken() {
        let (_directory, cache, node) = cache();
        put(&cache, &node, "1", "x");
        fs::remove_file(cache.links().join("x")).unwrap();
        assert_eq!(cache.find(&node, "1"), None);
        symlink(system("other").as_str(), cache.links().join("x")).unwrap();
        assert_eq!(cache.find(&node, "1"), None);
    }

    #[test]
    fn a_new_entry_lets_go_of_the_system_before() {
        let (_directory, cache, node) = cache();
        put(&cache, &node, "1", "x");
        put(&cache, &node, "2", "y");
        assert!(!cache.links().join("x").is_symlink());
        assert!(cache.find(&node, "2").is_some());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let (_directory, cache, node) = cache();
        put(&cache, &node, "1", "x");
        for text in [
            "",
            "{",
            "null",
            "{\"key\":\"1\"}",
            "\u{0}\u{1}",
            r#"{"key":"1","system":"/etc","warnings":[],"link":"x"}"#,
        ] {
            fs::write(cache.file(&node), text).unwrap();
            assert_eq!(cache.find(&node, "1"), None, "{text:?}");
        }
        put(&cache, &node, "1", "z");
        assert!(cache.find(&node, "1").is_some());
        fs::write(
            cache.file(&node),
            r#"{"key":"1","system":"/nix/store/0123456789abcdfghijklmnpqrsvwxyz-1","warnings":[],"link":"../x"}"#,
        )
        .unwrap();
        assert_eq!(cache.find(&node, "1"), None);
    }
}
