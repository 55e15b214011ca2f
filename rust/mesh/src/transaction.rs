//! Writes to etcd, as values. Each compares the revisions that its writer knows, so that two writers cannot interleave.

use std::fmt::Write as _;

use crate::{Instance, InstanceKey, Key};

/// Condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The full key, such as `/cluster/nodes/w1`.
    pub key: String,
    /// The revision of the key's last change; 0 if the key must not exist.
    pub modified: i64,
}

/// A write or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a value.
    Put {
        /// The full key.
        key: String,
        /// The value, any text.
        value: String,
        /// The lease of the key; 0 for none.
        lease: i64,
    },
    /// Deletes a key.
    Delete(String),
    /// Reads a key.
    Get(String),
}

/// An atomic transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Conditions, all of which must hold.
    pub compare: Vec<Compare>,
    /// Operations if they hold.
    pub then: Vec<Operation>,
    /// Operations otherwise: a read of the key, so that the writer learns its current revision.
    pub otherwise: Vec<Operation>,
}

impl Transaction {
    /// Writes a key whose last revision is known, 0 for a new key.
    #[must_use]
    pub fn put(key: &Key, value: String, known: i64, lease: i64) -> Self {
        Self::write(key.to_string(), value, known, lease)
    }

    /// Writes a key outside the mesh's data model, in the same way.
    #[must_use]
    pub fn write(key: String, value: String, known: i64, lease: i64) -> Self {
        let then = Operation::Put { key: key.clone(), value, lease };
        Self::on(key, known, then)
    }

    /// Writes an instance on a lease.
    #[must_use]
    pub fn register(key: &InstanceKey, instance: &Instance, known: i64, lease: i64) -> Self {
        Self::put(&Key::Instance(key.clone()), instance.write(), known, lease)
    }

    /// Deletes an instance.
    #[must_use]
    pub fn withdraw(key: String, known: i64) -> Self {
        Self::on(key.clone(), known, Operation::Delete(key))
    }

    fn on(key: String, known: i64, then: Operation) -> Self {
        let compare = vec![Compare { key: key.clone(), modified: known }];
        Self { compare, then: vec![then], otherwise: vec![Operation::Get(key)] }
    }

    /// Returns the input of `etcdctl txn`. JSON's string escapes are valid in Go too.
    #[must_use]
    pub fn etcdctl(&self) -> String {
        let mut text = String::new();
        for compare in &self.compare {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "mod({}) = \"{}\"", quote(&compare.key), compare.modified);
        }
        for operations in [&self.then, &self.otherwise] {
            text.push('\n');
            for operation in operations {
                let _ = match operation {
                    Operation::Put { key, value, lease: 0 } => writeln!(text, "put {} {}", quote(key), quote(value)),
                    Operation::Put { key, value, lease } => {
                        writeln!(text, "put --lease={lease:x} {} {}", quote(key), quote(value))
                    }
                    Operation::Delete(key) => writeln!(text, "del {}", quote(key)),
                    Operation::Get(key) => writeln!(text, "get {}", quote(key)),
                };
            }
        }
        text.push('\n');
        text
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;

    use super::Transaction;
    use crate::{Key, Metadata};

    #[test]
    fn a_write_compares_with_what_its_writer_knows() {
        let key = Key::parse("/cluster/services/db/meta_data").unwrap();
        let metadata = Metadata { port: Some(1), ..Metadata::default() };
        expect![[r#"
            mod("/cluster/services/db/meta_data") = "7"

            put "/cluster/services/db/meta_data" "{\"publish\":{\"port\":1},\"version\":1}"

            get "/cluster/services/db/meta_data"

        "#]]
        .assert_eq(&Transaction::put(&key, metadata.write(), 7, 0).etcdctl());
    }
}
