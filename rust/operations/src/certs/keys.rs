//! Transfer of private keys from `certs/` to nodes: decrypted in memory, and only for the node where the key is
//! missing.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use machinist_model::{Cluster, NodeName};
use machinist_pki::{Holder, Inventory, Table};
use machinist_rollout::{
    deploy::KeySource,
    step::keys::{Key, file_name},
};
use machinist_secrets::Identities;

use crate::{
    failure::{Failure, Kind},
    keyring::Keyring,
};

/// Returns the file names of the private keys that each node needs. Leftovers in `certs/` without a row in the table
/// are not transferred.
pub fn key_files(inventory: &Inventory, cluster: &Cluster) -> BTreeMap<NodeName, Vec<String>> {
    let mut files: BTreeMap<NodeName, Vec<String>> = BTreeMap::new();
    let table = machinist_pki::table(cluster);
    for spec in &table.certificates {
        let Holder::Node(node) = &spec.holder else { continue };
        if let Some(entry) = inventory.nodes.get(node).and_then(|leaves| leaves.get(&spec.leaf)) {
            files.entry(node.clone()).or_default().push(file_name(&spec.leaf, entry.key_id.as_str()));
        }
    }
    for spec in &table.key_pairs {
        let Some(entry) = inventory.shared.get(&spec.name) else { continue };
        for node in &spec.holders {
            files.entry(node.clone()).or_default().push(file_name(&spec.name, entry.key_id.as_str()));
        }
    }
    files
}

/// Returns a function that decrypts the private keys missing on a node. The identity is loaded at most once, and not at
/// all if no key is missing.
pub fn key_source(directory: &Path, cluster: &Cluster, keyring: &Keyring) -> KeySource {
    let directory = directory.to_owned();
    let operators = cluster.operators.clone();
    let keyring = keyring.clone();
    let table = machinist_pki::table(cluster);
    let loaded: Mutex<Option<Arc<Identities>>> = Mutex::new(None);
    Arc::new(move |node, wanted| {
        let open = || -> Result<Vec<Key>, Failure> {
            let identities = {
                // Held during the passphrase prompt: one prompt serves all nodes.
                let mut loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
                match &*loaded {
                    Some(identities) => Arc::clone(identities),
                    None => Arc::clone(loaded.insert(Arc::new(keyring.unlock()?))),
                }
            };
            keys_of(&directory, &table, node, &identities, &operators, wanted)
        };
        open().map_err(|failure| {
            let hints: Vec<&str> = failure.hints.iter().map(String::as_str).collect();
            let text = failure.in_one_line();
            if hints.is_empty() { text } else { format!("{text} ({})", hints.join("; ")) }
        })
    })
}

fn keys_of(
    directory: &Path,
    table: &Table,
    node: &NodeName,
    identities: &Identities,
    operators: &[machinist_model::Operator],
    wanted: &[String],
) -> Result<Vec<Key>, Failure> {
    let failed =
        |error: machinist_pki::InventoryError| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint());
    let inventory = Inventory::read(directory).map_err(failed)?;
    let mut keys = Vec::new();
    for (leaf, entry) in inventory.of_node(table, node) {
        let file = file_name(leaf, entry.key_id.as_str());
        if wanted.contains(&file) {
            let content = inventory.content(table, leaf, entry, identities, operators).map_err(failed)?;
            keys.push(Key { file, content });
        }
    }
    Ok(keys)
}
