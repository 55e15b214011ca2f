//! Inventory of existing certificates, for the other crates.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path, PathBuf},
};

use machinist_model::{ControlBackend, NodeName, Operator};
use machinist_secrets::{DecryptError, Identities, Zeroizing};
use thiserror::Error;

use crate::{
    CERTS, Entry, Files, Holder, KeyError, KeyId, KeyUse, PrivateKey, Table, Tree, control,
    encryption::{self, Provider, SECRETS_ENCRYPTION},
    store::{self, StoreError},
    token,
};

/// Directory of private keys on a node.
const KEYS_ON_NODE: &str = "/var/lib/machinist/keys";

/// The certificates of a cluster's directory whose private keys are present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    root: PathBuf,
    /// Authority, such as `etcd`, mapped to the path of its certificate, relative to the cluster's directory.
    pub authorities: BTreeMap<String, String>,
    /// Node, mapped to its certificates by leaf, such as `etcd-server`.
    pub nodes: BTreeMap<NodeName, BTreeMap<String, CertificateEntry>>,
    /// Certificates of the operators by leaf, such as `etcd-operator`.
    pub operators: BTreeMap<String, CertificateEntry>,
    /// Shared key pairs, such as `service-account`, mapped to their files. `certificate` is the public half.
    pub shared: BTreeMap<String, CertificateEntry>,
    /// Node, mapped to the path of the certificate of its SSH host key, relative to the cluster's directory.
    pub hosts: BTreeMap<NodeName, String>,
    /// The keys that encrypt Secrets, with the current one first: each with the path of its encrypted private key,
    /// relative to the cluster's directory; `None` for plain text.
    encryption: Vec<(KeyId, Option<String>)>,
    /// Certificates left out because their private key is missing or belongs to another certificate; paths relative to
    /// the cluster's directory, sorted. `certs gen` issues them again.
    pub incomplete: Vec<String>,
}

/// A leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEntry {
    /// The path of the certificate, relative to the cluster's directory.
    pub certificate: String,
    /// The path of the encrypted private key, relative to the cluster's directory.
    pub key: String,
    /// The id of its public key.
    pub key_id: KeyId,
}

impl CertificateEntry {
    /// Returns the absolute path of the private key on the node. A renewed certificate has another path, so that an
    /// older generation of the node still finds its own key.
    #[must_use]
    pub fn key_on_node(&self, leaf: &str) -> String {
        format!("{KEYS_ON_NODE}/{leaf}-{}.key", self.key_id)
    }
}

/// The public keys of a node in a control mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlKeys {
    /// The pair's name in the table.
    pub pair: String,
    /// The path of the public half, relative to the cluster's directory.
    pub path: String,
    /// The key in use, and while it is rotated the other one.
    pub public: Vec<control::PublicKey>,
}

/// A decrypted private key of a node. Not shown by `Debug`.
pub struct NodeKey {
    /// The leaf, such as `etcd-server`.
    pub leaf: String,
    /// The id of its public half.
    pub key_id: KeyId,
    /// PKCS#8 PEM, the token derived from it, the encryption configuration, or the key in the form of a control mesh.
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

/// Reason why certificates or keys are not available.
#[allow(
    missing_docs,
    reason = "`file` is a path inside the cluster's directory, `what` a message, `source` the cause; `found` and `wanted` \
    are the ids of the private key and of the certificate's key"
)]
#[derive(Debug, Error)]
pub enum InventoryError {
    /// A file or directory cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file has the wrong content for its place.
    #[error("{}: {what}", .file.display())]
    Corrupt { file: PathBuf, what: String },
    /// A private key cannot be decrypted.
    #[error("cannot decrypt a private key")]
    Decrypt(#[from] DecryptError),
    /// A private key cannot be used.
    #[error("{} does not contain a usable private key", .file.display())]
    Key { file: PathBuf, source: KeyError },
    /// A private key does not belong to its certificate.
    #[error("{} contains the private key {found}, but its certificate belongs to {wanted}", .file.display())]
    ForeignKey { file: PathBuf, found: KeyId, wanted: KeyId },
}

impl InventoryError {
    /// Returns the way to fix it.
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
    /// Reads the certificates of the cluster's directory (its `certs/`). No identity is needed.
    ///
    /// # Errors
    /// Something cannot be read, or a file has the wrong content for its place.
    pub fn read(cluster: &Path) -> Result<Self, InventoryError> {
        let tree = store::read(&cluster.join(CERTS))?;
        let mut inventory = Self { root: cluster.to_owned(), ..Self::default() };
        for (path, entry) in tree.entries() {
            match entry {
                Entry::Corrupt(what) => return Err(inventory.corrupt(path, what)),
                Entry::Plaintext => return Err(inventory.corrupt(path, "an unencrypted private key")),
                Entry::Certificate(certificate) => inventory.add(&tree, path, &certificate.key_id),
                Entry::Bundle(all) => {
                    all.first().into_iter().for_each(|first| inventory.add(&tree, path, &first.key_id))
                }
                Entry::PublicKeys(ids) => ids.first().into_iter().for_each(|first| inventory.add(&tree, path, first)),
                Entry::HostCertificate(_) => inventory.add_host(path),
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
        // A key without the name of its public half was written by another program; the deploy verifies it.
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

    fn add_host(&mut self, path: &Path) {
        let node = path.parent().and_then(Path::file_name).and_then(|name| NodeName::parse(name.to_str()?).ok());
        if let Some(node) = node {
            self.hosts.insert(node, format!("{CERTS}/{}", path.display()));
        }
    }

    /// Adds the list of keys that encrypt Secrets as one entry, whose id is the list's.
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

    /// Decrypts all keys of the list, and returns the API servers' configuration derived from them.
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

    /// Returns the existing certificates and key pairs of the table's rows for the node, sorted by name. Leftovers
    /// without a row are omitted.
    #[must_use]
    pub fn of_node<'a>(&'a self, table: &'a Table, node: &NodeName) -> BTreeMap<&'a str, &'a CertificateEntry> {
        let leaves =
            table.certificates.iter().filter(|spec| matches!(&spec.holder, Holder::Node(name) if name == node));
        let own = self.nodes.get(node);
        let leaves = leaves.filter_map(|spec| Some((spec.leaf.as_str(), own?.get(&spec.leaf)?)));
        let pairs = table.key_pairs.iter().filter(|spec| spec.holders.contains(node));
        leaves.chain(pairs.filter_map(|spec| Some((spec.name.as_str(), self.shared.get(&spec.name)?)))).collect()
    }

    /// Decrypts the private keys of one node only, sorted by name: those of the table's rows that exist. Each is
    /// verified against its certificate. The operators serve only to name recipients in an error.
    ///
    /// # Errors
    /// A key cannot be read or decrypted, or does not belong to its certificate.
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

    /// Decrypts a node's share of a row: the private key, the token derived from it, or the encryption configuration.
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
        let used_as = table.key_pairs.iter().find(|spec| spec.name == name).map(|spec| spec.used_as);
        match used_as {
            Some(KeyUse::Token | KeyUse::Password) => Ok(token(&pem)),
            Some(used_as) if used_as.is_control() => {
                let corrupt = || self.not_ed25519(&entry.key);
                control::private_file(&pem, used_as).ok_or_else(corrupt)
            }
            _ => Ok(pem),
        }
    }

    fn not_ed25519(&self, file: &str) -> InventoryError {
        InventoryError::Corrupt { file: self.root.join(file), what: "not an Ed25519 key".to_owned() }
    }

    /// Returns the public keys of the control mesh's nodes that exist, in the form of the backend, each node's own one
    /// first.
    ///
    /// # Errors
    /// A file cannot be read, or has another kind of key.
    pub fn control_keys(
        &self,
        table: &Table,
        backend: ControlBackend,
    ) -> Result<BTreeMap<NodeName, ControlKeys>, InventoryError> {
        let mut keys = BTreeMap::new();
        for spec in table.key_pairs.iter().filter(|spec| spec.used_as.is_control()) {
            let (Some(entry), Some(node)) = (self.shared.get(&spec.name), spec.holders.first()) else { continue };
            let path = self.root.join(&entry.certificate);
            let pem = std::fs::read(&path).map_err(|source| StoreError::Read { path, source })?;
            let public = control::public_keys(&pem, backend).ok_or_else(|| self.not_ed25519(&entry.certificate))?;
            keys.insert(node.clone(), ControlKeys { pair: spec.name.clone(), path: entry.certificate.clone(), public });
        }
        Ok(keys)
    }

    /// Decrypts the private key of one certificate, such as an operator's. PKCS#8 PEM.
    ///
    /// # Errors
    /// The key cannot be read or decrypted, or does not belong to its certificate.
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
