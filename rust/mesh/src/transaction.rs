//! Writes to etcd, as values. Each compares with what its writer knows, so that two writers cannot interleave.

use std::fmt::Write as _;

use crate::{Instance, InstanceKey, Key};

/// What must hold for a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The key.
    pub key: String,
    /// The revision at which it was written last; 0: it is not there.
    pub modified: i64,
}

/// A write or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The lease that the key hangs on; 0: none.
        lease: i64,
    },
    /// Deletes a key.
    Delete(String),
    /// Reads a key.
    Get(String),
}

/// Writes that happen all or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub compare: Vec<Compare>,
    /// What is done then.
    pub then: Vec<Operation>,
    /// What is done otherwise: the key is read, so that the writer knows more the next time.
    pub otherwise: Vec<Operation>,
}

impl Transaction {
    /// Writes a key that was last written at a revision, or 0.
    #[must_use]
    pub fn put(key: &Key, value: String, known: i64, lease: i64) -> Self {
        Self::write(key.to_string(), value, known, lease)
    }

    /// Writes a key that the mesh itself has no meaning for, in the same way.
    #[must_use]
    pub fn write(key: String, value: String, known: i64, lease: i64) -> Self {
        let then = Operation::Put { key: key.clone(), value, lease };
        Self::on(key, known, then)
    }

    /// Writes an instance, which is gone when the lease is.
    #[must_use]
    pub fn register(key: &InstanceKey, instance: &Instance, known: i64, lease: i64) -> Self {
        Self::put(&Key::Instance(key.clone()), instance.write(), known, lease)
    }

    /// Takes an instance out.
    #[must_use]
    pub fn withdraw(key: String, known: i64) -> Self {
        Self::on(key.clone(), known, Operation::Delete(key))
    }

    fn on(key: String, known: i64, then: Operation) -> Self {
        let compare = vec![Compare { key: key.clone(), modified: known }];
        Self { compare, then: vec![then], otherwise: vec![Operation::Get(key)] }
    }

    /// Returns the text that `etcdctl txn` reads. A text of JSON is one of Go too.
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
