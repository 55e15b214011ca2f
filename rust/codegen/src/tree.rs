//! Changes of the files in `generated/`: decided here as data, applied by the caller.

use std::collections::BTreeMap;

use similar::TextDiff;

use crate::facts::HEADER;

/// A change of one file in `generated/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file is new.
    Create {
        /// The new text.
        new: String,
    },
    /// The file's text changes.
    Update {
        /// The current text.
        old: String,
        /// The new text.
        new: String,
    },
    /// The file's machine was removed.
    Remove {
        /// The current text.
        old: String,
    },
    /// A file without the header in place of a generated one, or beside them. It stays.
    Foreign,
}

/// Compares the desired with the current files. Both map a file's name (`cp1.nix`) to its text; equal files are left
/// out.
#[must_use]
pub fn changes(expected: &BTreeMap<String, String>, existing: &BTreeMap<String, String>) -> BTreeMap<String, Change> {
    let ours = |text: &str| text.starts_with(&format!("# {HEADER}\n"));
    let mut changes = BTreeMap::new();
    for (name, old) in existing {
        let change = match expected.get(name) {
            Some(new) if new == old => continue,
            _ if !ours(old) => Change::Foreign,
            Some(new) => Change::Update { old: old.clone(), new: new.clone() },
            None => Change::Remove { old: old.clone() },
        };
        changes.insert(name.clone(), change);
    }
    for (name, new) in expected {
        if !existing.contains_key(name) {
            changes.insert(name.clone(), Change::Create { new: new.clone() });
        }
    }
    changes
}

impl Change {
    /// Returns a unified diff, with `name` as the displayed path. Empty for a foreign file.
    #[must_use]
    pub fn diff(&self, name: &str) -> String {
        let (old, new) = match self {
            Self::Create { new } => ("", new.as_str()),
            Self::Update { old, new } => (old.as_str(), new.as_str()),
            Self::Remove { old } => (old.as_str(), ""),
            Self::Foreign => return String::new(),
        };
        let from = if old.is_empty() { "/dev/null".to_owned() } else { format!("a/{name}") };
        let to = if new.is_empty() { "/dev/null".to_owned() } else { format!("b/{name}") };
        TextDiff::from_lines(old, new).unified_diff().header(&from, &to).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Change, changes};
    use crate::facts::HEADER;

    fn tree(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, body)| ((*name).to_owned(), format!("# {HEADER}\n{body}\n"))).collect()
    }

    #[test]
    fn equal_files_are_left_alone_and_the_others_are_named() {
        let expected = tree(&[("a.nix", "1"), ("b.nix", "2"), ("c.nix", "3")]);
        let existing = tree(&[("a.nix", "1"), ("b.nix", "old"), ("gone.nix", "4")]);
        let changes = changes(&expected, &existing);
        assert_eq!(changes.keys().collect::<Vec<_>>(), ["b.nix", "c.nix", "gone.nix"]);
        assert!(matches!(changes["b.nix"], Change::Update { .. }));
        assert!(matches!(changes["c.nix"], Change::Create { .. }));
        assert!(matches!(changes["gone.nix"], Change::Remove { .. }));
    }

    #[test]
    fn a_file_without_the_header_is_neither_overwritten_nor_removed() {
        let mut existing = tree(&[]);
        existing.insert("a.nix".to_owned(), "{ }\n".to_owned());
        existing.insert("mine.nix".to_owned(), "{ }\n".to_owned());
        let changes = changes(&tree(&[("a.nix", "1")]), &existing);
        assert!(changes.values().all(|change| *change == Change::Foreign), "{changes:?}");
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn a_diff_shows_what_changes() {
        let change = Change::Update { old: "a\nb\n".to_owned(), new: "a\nc\n".to_owned() };
        assert_eq!(
            change.diff("generated/x.nix"),
            "--- a/generated/x.nix\n+++ b/generated/x.nix\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
        );
    }
}
