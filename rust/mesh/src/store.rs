//! Local copy of the mesh's keys in etcd.

use std::{collections::BTreeMap, ops::Bound};

use serde::{Deserialize, Serialize};

use crate::{Entry, EntryError, Key};

/// A key with its value and revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The full key, such as `/cluster/nodes/w1`.
    pub key: String,
    /// The value as text, usually JSON.
    pub value: String,
    /// The revision of the key's creation.
    pub created: i64,
    /// The revision of its last change.
    pub modified: i64,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key was written.
    Put(Pair),
    /// The key was deleted, explicitly or because its lease expired.
    Delete(String),
}

/// Maximum size of an instance's value, in bytes. The agent writes less than 1,000.
const LONGEST_INSTANCE: usize = 4096;

/// Maximum size of a key, in bytes. Keys of the mesh have less than 300.
const LONGEST_KEY: usize = 512;

/// The keys of the mesh, each parsed once. Nodes can write some of them, so oversized ones are not stored.
#[derive(Clone, Debug, Default)]
pub struct Store {
    entries: BTreeMap<String, Stored>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub key: Option<Key>,
    pub entry: Result<Entry, EntryError>,
    pub created: i64,
    value: Box<str>,
    modified: i64,
}

impl Store {
    /// Builds the store from the full content at one revision.
    #[must_use]
    pub fn of(pairs: impl IntoIterator<Item = Pair>) -> Self {
        let mut store = Self::default();
        for pair in pairs {
            store.put(pair);
        }
        store
    }

    /// Applies a change. Returns whether the store is different now.
    pub fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Put(pair) => self.put(pair),
            Change::Delete(key) => self.entries.remove(&key).is_some(),
        }
    }

    fn put(&mut self, pair: Pair) -> bool {
        if pair.key.len() > LONGEST_KEY {
            return false;
        }
        let key = Key::parse(&pair.key);
        let entry = match &key {
            Some(Key::Instance(_)) if pair.value.len() > LONGEST_INSTANCE => {
                Err(EntryError::Long { bytes: pair.value.len(), most: LONGEST_INSTANCE })
            }
            Some(key) => Entry::read(key, pair.value.as_bytes()),
            None if Key::is_near(&pair.key) => Err(EntryError::Key),
            // A key of another program.
            None => return false,
        };
        let Pair { key: text, mut value, created, modified } = pair;
        if entry.is_err() && value.len() > LONGEST_INSTANCE {
            value.clear();
        }
        let stored = Stored { key, entry, created, value: value.into(), modified };
        let before = self.entries.insert(text, stored);
        let now = |before: Stored| before.created != created || before.modified != modified;
        before.is_none_or(now)
    }

    /// Returns the value of a key, and the revision of its last change.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<(&str, i64)> {
        self.entries.get(key).map(|stored| (&*stored.value, stored.modified))
    }

    /// Returns all keys as in etcd, sorted.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.entries.iter().map(|(key, stored)| Pair {
            key: key.clone(),
            value: stored.value.to_string(),
            created: stored.created,
            modified: stored.modified,
        })
    }

    /// Returns the keys with a prefix, sorted.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.entries.range::<str, _>(from).map(|(key, _)| key.as_str()).take_while(move |key| key.starts_with(prefix))
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if the store is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Stored)> {
        self.entries.iter().map(|(key, stored)| (key.as_str(), stored))
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, LONGEST_INSTANCE, LONGEST_KEY, Pair, Store};

    fn pair(key: &str, modified: i64) -> Pair {
        let value = r#"{"node":"w1","ipv4":"10.0.0.1","port":1}"#.to_owned();
        Pair { key: key.to_owned(), value, created: 1, modified }
    }

    #[test]
    fn a_node_fills_no_other_node_s_memory_with_long_values() {
        let mut store = Store::default();
        let mut long = pair("/cluster/instances/w1/services/a/a", 1);
        long.value = format!("{}{}", long.value, " ".repeat(LONGEST_INSTANCE));
        assert!(store.apply(Change::Put(long.clone())));
        let kept: usize = store.pairs().map(|pair| pair.value.len()).sum();
        assert_eq!(kept, 0);
        assert!(store.entries().all(|(_, stored)| stored.entry.is_err()));
        long.key = "/cluster/instances/w1/not/a/key/of/the/mesh".to_owned();
        assert!(store.apply(Change::Put(long.clone())));
        assert!(store.pairs().all(|pair| pair.value.is_empty()));
        long.key = format!("/cluster/instances/w1/{}", "x".repeat(LONGEST_KEY));
        assert!(!store.apply(Change::Put(long)));
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn what_was_kept_in_a_file_is_the_same_store_again() {
        let mut store = Store::default();
        assert!(store.apply(Change::Put(pair("/cluster/services/a/instances/w1", 1))));
        assert!(!store.apply(Change::Put(pair("/cluster/services/a/instances/w1", 1))), "nothing is new");
        assert!(store.apply(Change::Put(pair("/cluster/services/a/instances/w1", 2))));
        assert!(!store.apply(Change::Put(pair("/cluster/locks/deploy", 1))), "another program's key");
        let again = Store::of(store.pairs());
        assert_eq!(again.pairs().collect::<Vec<_>>(), store.pairs().collect::<Vec<_>>());
        assert!(store.apply(Change::Delete("/cluster/services/a/instances/w1".to_owned())));
        assert!(!store.apply(Change::Delete("/cluster/services/a/instances/w1".to_owned())));
        assert!(store.is_empty());
    }
}
