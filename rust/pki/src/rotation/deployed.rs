//! Progress of a stage over all machines. Pure: the files of the machines in, the machines that are behind out.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::NodeName;

use super::{Stage, Subject};
use crate::{Certificate, KeyId, Table, Tree};

/// Files in /etc/machinist/pki of a machine's running system, name to text; or why the machine could not be queried.
pub type Found = Result<BTreeMap<String, String>, String>;

/// Returns the machines that have not reached the stage, each with what is missing, as text. A machine that could not
/// be queried counts as one of them: it may still present the old one's signatures, or reject the new one's.
#[must_use]
pub fn behind(
    table: &Table,
    tree: &Tree,
    subject: Subject<'_>,
    stage: Stage,
    found: &BTreeMap<NodeName, Found>,
) -> BTreeMap<NodeName, String> {
    let missing_on = |node: &NodeName| match found.get(node) {
        None => Some("it was not queried".to_owned()),
        Some(Err(why)) => Some(why.clone()),
        Some(Ok(files)) if files.is_empty() => Some("it has no certificates yet".to_owned()),
        Some(Ok(files)) => missing(table, tree, subject, stage, node, files),
    };
    subject
        .consumers(table)
        .into_iter()
        .filter_map(|node| Some((missing_on(&node)?, node)))
        .map(|(why, node)| (node, why))
        .collect()
}

fn missing(
    table: &Table,
    tree: &Tree,
    subject: Subject<'_>,
    stage: Stage,
    node: &NodeName,
    files: &BTreeMap<String, String>,
) -> Option<String> {
    let wanted = subject.trusted(tree);
    let text = |name: String| files.get(&name).map(String::as_str).unwrap_or_default();
    let has: Vec<KeyId> = match subject {
        Subject::Authority(spec) => {
            let all = Certificate::parse_all(text(format!("{}-ca.pem", spec.authority)).as_bytes());
            all.unwrap_or_default().into_iter().map(|certificate| certificate.key_id).collect()
        }
        Subject::KeyPair(spec) => {
            KeyId::of_public_pem(text(format!("{}.pub", spec.name)).as_bytes()).unwrap_or_default()
        }
    };
    let known: BTreeSet<&KeyId> = has.iter().collect();
    if let Some(unknown) = wanted.iter().find(|id| !known.contains(**id)) {
        let verb = if subject.is_encryption() { "decrypt with" } else { "trust" };
        return Some(format!("it does not {verb} {unknown} yet"));
    }
    if stage == Stage::TrustBoth {
        return None;
    }
    match subject {
        Subject::KeyPair(_) => {
            let signs = wanted.first()?;
            let verb = if subject.is_encryption() { "encrypt" } else { "sign" };
            (has.first() != Some(*signs)).then(|| format!("it does not {verb} with {signs} yet"))
        }
        Subject::Authority(spec) => {
            let signer = tree.certificate(&spec.files.certificate)?;
            let own = table.certificates.iter().filter(|leaf| leaf.authority == spec.authority);
            let mut of_node = own.filter(|leaf| leaf.is_of(node));
            let old = of_node.find(|leaf| {
                let certificate = Certificate::parse(text(format!("{}.pem", leaf.leaf)).as_bytes());
                !certificate.is_ok_and(|certificate| certificate.is_signed_by(signer))
            })?;
            Some(format!("its {} is not yet signed by {}", old.leaf, signer.key_id))
        }
    }
}
