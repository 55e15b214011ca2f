//! What the rest of the program needs to know about certificates that exist.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path, PathBuf},
};

use machinist_model::{NodeName, Operator};
use machinist_secrets::{DecryptError, Identities, Zeroizing};
use thiserror::Error;

use crate::{
    CERTS, Entry, Files, Holder, KeyError, KeyId, PrivateKey, Table, Tree,
    encryption::{self, Provider, SECRETS_ENCRYPTION},
    store::{self, StoreError},
    token,
};

/// The directory on a node that holds its private keys.
const KEYS_ON_NODE: &str = "/var/lib/machinist/keys";

/// The certificates of a cluster's directory whose private key lies beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    root: PathBuf,
    /// Authority, such as `etcd`, to the path of its certificate, relative to the cluster's directory.
    pub authorities: BTreeMap<String, String>,
    /// Node to leaf, such as `etcd-server`, to certificate.
    pub nodes: BTreeMap<NodeName, BTreeMap<String, CertificateEntry>>,
    /// Leaf, such as `etcd-operator`, to certificate.
    pub operators: BTreeMap<String, CertificateEntry>,
    /// Key pair that nodes share, such as `service-account`, to its files. `certificate` is the public half.
    pub shared: BTreeMap<String, CertificateEntry>,
    /// The keys that encrypt Secrets, the one in use first: each with the path of its encrypted private key, relative to the
    /// cluster's directory; none for plain text.
    encryption: Vec<(KeyId, Option<String>)>,
    /// Certificates left out because their private key is missing or of another certificate; paths relative to the
    /// cluster's directory, sorted. `certs gen` makes them again.
    pub incomplete: Vec<String>,
}

/// One leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEntry {
    /// The path of the certificate, relative to the cluster's directory.
    pub certificate: String,
    /// The path of the encrypted private key, relative to the cluster's directory.
    pub key: String,
    /// The name of its public key.
    pub key_id: KeyId,
}

impl CertificateEntry {
    /// Returns the absolute path of the private key on the node. A renewed certificate has another: an older generation
    /// of the node still finds its own key.
    #[must_use]
    pub fn key_on_node(&self, leaf: &str) -> String {
        format!("{KEYS_ON_NODE}/{leaf}-{}.key", self.key_id)
    }
}

/// A decrypted private key of a node. Not shown by `Debug`.
pub struct NodeKey {
    /// The leaf, such as `etcd-server`.
    pub leaf: String,
    /// The name of its public half.
    pub key_id: KeyId,
    /// PKCS#8 PEM, the token that follows from it, or the configuration of encryption.
    pub pem: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NodeKey")
            .field("leaf", &self.leaf)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Why certificates or keys cannot be had.
#[derive(Debug, Error)]
pub enum InventoryError {
    /// Something cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is not what belongs in its place.
    #[error("{}: {what}", .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A private key cannot be decrypted.
    #[error("cannot open a private key")]
    Decrypt(#[from] DecryptError),
    /// A private key cannot be used.
    #[error("{} holds no private key that can be used", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// A private key is not the one of its certificate.
    #[error("{} holds the private key {found}, but its certificate is of {wanted}", .file.display())]
    ForeignKey {
        /// The file.
        file: PathBuf,
        /// The public half of the key.
        found: KeyId,
        /// The public key of the certificate.
        wanted: KeyId,
    },
}

impl InventoryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Decrypt(error) => error.hint(),
            Self::Corrupt { .. } | Self::Key { .. } => Some("restore the file from version control".to_owned()),
            Self::ForeignKey { .. } => Some("run `machinist certs renew` for this certificate".to_owned()),
            Self::Store(_) => None,
        }
    }
}

impl Inventory {
    /// Reads the certificates of the cluster's directory (its `certs/`). Needs no identity.
    ///
    /// # Errors
    /// Something cannot be read, or a file is not what belongs in its place.
    pub fn read(cluster: &Path) -> Result<Self, InventoryError> {
        let tree = store::read(&cluster.join(CERTS))?;
        let mut inventory = Self { root: cluster.to_owned(), ..Self::default() };
        for (path, entry) in tree.entries() {
            match entry {
                Entry::Corrupt(what) => return Err(inventory.corrupt(path, what)),
                Entry::Plaintext => return Err(inventory.corrupt(path, "a private key that is not encrypted")),
                Entry::Certificate(certificate) => inventory.add(&tree, path, &certificate.key_id),
                Entry::Bundle(all) => {
                    all.first().into_iter().for_each(|first| inventory.add(&tree, path, &first.key_id))
                }
                Entry::PublicKeys(ids) => ids.first().into_iter().for_each(|first| inventory.add(&tree, path, first)),
                _ => {}
            }
        }
        Ok(inventory)
    }

    fn corrupt(&self, path: &Path, what: &str) -> InventoryError {
        InventoryError::Corrupt { file: self.root.join(CERTS).join(path), what: what.to_owned() }
    }

    fn add(&mut self, tree: &Tree, path: &Path, key_id: &KeyId) {
        let parts: Vec<_> = path
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => name.to_str(),
                _ => None,
            })
            .collect();
        let text = format!("{CERTS}/{}", parts.join("/"));
        let Some(stem) = text.strip_suffix(".pem").or_else(|| text.strip_suffix(".pub")) else { return };
        let Some(leaf) = stem.rsplit('/').next().map(str::to_owned) else { return };
        if parts.first() == Some(&"authorities") {
            self.authorities.insert(leaf, text);
            return;
        }
        if path == Files::key_pair(SECRETS_ENCRYPTION).certificate {
            self.add_encryption(tree, &text);
            return;
        }
        // A key that does not name its public half was written by another program; deploying it proves it.
        let whole =
            tree.key(&path.with_extension("key.age")).is_some_and(|found| found.is_none_or(|found| found == key_id));
        if !whole {
            self.incomplete.push(text);
            return;
        }
        let entry =
            CertificateEntry { key: format!("{stem}.key.age"), certificate: text.clone(), key_id: key_id.clone() };
        match parts.as_slice() {
            ["shared", _] => drop(self.shared.insert(leaf, entry)),
            ["operators", _] => drop(self.operators.insert(leaf, entry)),
            ["nodes", node, _] => {
                if let Ok(node) = NodeName::parse(node) {
                    self.nodes.entry(node).or_default().insert(leaf, entry);
                }
            }
            _ => {}
        }
    }

    /// The list of keys that encrypt Secrets is one entry, whose name is the list's.
    fn add_encryption(&mut self, tree: &Tree, text: &str) {
        let files = Files::key_pair(SECRETS_ENCRYPTION);
        if !encryption::missing(tree, &files).is_empty() {
            self.incomplete.push(text.to_owned());
            return;
        }
        let ids = tree.public_keys(&files.certificate);
        let path =
            |id: &KeyId| encryption::key_file(tree, &files, id).map(|path| format!("{CERTS}/{}", path.display()));
        self.encryption = ids.iter().map(|id| (id.clone(), path(id))).collect();
        let entry = CertificateEntry {
            certificate: text.to_owned(),
            key: format!("{CERTS}/{}", files.key.display()),
            key_id: encryption::list_id(ids),
        };
        self.shared.insert(SECRETS_ENCRYPTION.to_owned(), entry);
    }

    /// Decrypts all keys of the list, and returns the configuration of API servers that follows from them.
    fn encryption_configuration(
        &self,
        entry: &CertificateEntry,
        identities: &Identities,
        operators: &[Operator],
    ) -> Result<Zeroizing<Vec<u8>>, InventoryError> {
        let provider = |(id, path): &(KeyId, Option<String>)| {
            let Some(path) = path else { return Ok(Provider::PlainText) };
            let entry = CertificateEntry { key: path.clone(), key_id: id.clone(), ..entry.clone() };
            Ok(Provider::Key(id.clone(), self.key(&entry, identities, operators)?))
        };
        let providers = self.encryption.iter().map(provider).collect::<Result<Vec<_>, InventoryError>>()?;
        Ok(encryption::configuration(&providers))
    }

    /// Returns what exists of the rows that the table has for the node, key pairs too, sorted by name. Leftovers that no row
    /// asks for are left out.
    #[must_use]
    pub fn of_node<'a>(&'a self, table: &'a Table, node: &NodeName) -> BTreeMap<&'a str, &'a CertificateEntry> {
        let leaves =
            table.certificates.iter().filter(|spec| matches!(&spec.holder, Holder::Node(name) if name == node));
        let own = self.nodes.get(node);
        let leaves = leaves.filter_map(|spec| Some((spec.leaf.as_str(), own?.get(&spec.leaf)?)));
        let pairs = table.key_pairs.iter().filter(|spec| spec.holders.contains(node));
        leaves.chain(pairs.filter_map(|spec| Some((spec.name.as_str(), self.shared.get(&spec.name)?)))).collect()
    }

    /// Decrypts the private keys of one node, and of no other, sorted by name: those of the table's rows that exist. Each is
    /// proven to belong to its certificate. The operators are asked for names only, for an error.
    ///
    /// # Errors
    /// A key cannot be read or decrypted, or is not the one of its certificate.
    pub fn node_keys(
        &self,
        table: &Table,
        node: &NodeName,
        identities: &Identities,
        operators: &[Operator],
    ) -> Result<Vec<NodeKey>, InventoryError> {
        self.of_node(table, node)
            .into_iter()
            .map(|(leaf, entry)| {
                let pem = self.content(table, leaf, entry, identities, operators)?;
                Ok(NodeKey { leaf: leaf.to_owned(), key_id: entry.key_id.clone(), pem })
            })
            .collect()
    }

    /// Decrypts what a node gets of a row: the private key, the token that follows from it, or the configuration of encryption.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn content(
        &self,
        table: &Table,
        name: &str,
        entry: &CertificateEntry,
        identities: &Identities,
        operators: &[Operator],
    ) -> Result<Zeroizing<Vec<u8>>, InventoryError> {
        if name == SECRETS_ENCRYPTION {
            return self.encryption_configuration(entry, identities, operators);
        }
        let pem = self.key(entry, identities, operators)?;
        Ok(if table.is_token(name) { token(&pem) } else { pem })
    }

    /// Decrypts the private key of one certificate, such as an operator's. PKCS#8 PEM.
    ///
    /// # Errors
    /// The key cannot be read or decrypted, or is not the one of its certificate.
    pub fn key(
        &self,
        entry: &CertificateEntry,
        identities: &Identities,
        operators: &[Operator],
    ) -> Result<Zeroizing<Vec<u8>>, InventoryError> {
        let file = self.root.join(&entry.key);
        let content = std::fs::read(&file).map_err(|source| StoreError::Read { path: file.clone(), source })?;
        let pem = machinist_secrets::decrypt(identities, &file, &content, operators)?;
        let text = std::str::from_utf8(&pem).unwrap_or_default();
        let key = PrivateKey::from_pem(text).map_err(|source| InventoryError::Key { file: file.clone(), source })?;
        if key.id() == entry.key_id {
            Ok(pem)
        } else {
            Err(InventoryError::ForeignKey { file, found: key.id(), wanted: entry.key_id.clone() })
        }
    }
}
