//! Certificates of a cluster's directory: inventory, renewal dates, and decryption of their private keys.

pub mod hosts;
pub mod issue;
mod keys;
pub mod rotate;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use machinist_codegen::facts::{Certificate, Certificates, ControlKeys, KeyPair};
use machinist_model::{Cluster, NodeName};
use machinist_pki::{
    self as pki, Holder, Inventory, Policy, Step, Survey, Table,
    report::{self, Row, State},
};
use machinist_secrets::Recipients;
use time::OffsetDateTime;

pub use self::keys::{key_files, key_source};
use crate::{
    event::Events,
    failure::{Failure, Kind},
};

/// Compares the directory of certificates with the cluster's requirements.
pub fn survey(certs: &Path, cluster: &Cluster, now: OffsetDateTime) -> Result<Survey, Failure> {
    pki::survey(certs, cluster, &Policy::default(), now).map_err(|error| Failure::from_error(Kind::Failed, &error))
}

/// Refuses operators whose keys age cannot encrypt to: private keys are encrypted to all operators or not at all. Warns
/// of keys whose use leaks information.
pub fn check_operators(cluster: &Cluster, events: &Events) -> Result<(), Failure> {
    for operator in cluster.operators.iter().filter(|operator| operator.decrypts_with_rsa()) {
        events.warn(format!(
            "operator `{}` decrypts with an RSA key: its use leaks through time to other programs of that computer \
             (RUSTSEC-2023-0071); an `age` recipient or an ed25519 key does not",
            operator.name
        ));
    }
    let problems = Recipients::problems(&cluster.operators);
    let Some(first) = problems.first() else { return Ok(()) };
    let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::new(Kind::Input, words.join("\n")).maybe_hint(first.hint()))
}

/// Reads the inventory of certificates.
pub fn inventory(directory: &Path) -> Result<Inventory, Failure> {
    Inventory::read(directory).map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))
}

/// Describes certificates that need attention. A cluster without any certificates has no problem yet.
pub fn trouble(certs: &Path, cluster: &Cluster, now: OffsetDateTime) -> Result<Vec<String>, Failure> {
    let survey = survey(certs, cluster, now)?;
    let none_yet = survey.tree.entries().next().is_none() || survey.plan.actions.iter().all(|a| is_new(&a.step));
    let mut lines: Vec<String> = survey.plan.problems.iter().map(|p| format!("{}: {}", p.subject, p.what)).collect();
    lines.extend(pki::rotation::unfinished(&survey.table, &survey.tree));
    lines.extend(authorities_that_end(&survey));
    if !none_yet {
        let rows = report::list(&survey).into_iter().filter(|row| row.state != State::Ok);
        lines.extend(rows.map(|row| format!("certificate {} ({}): {}", row.name, row.state, row.because)));
    }
    Ok(lines)
}

/// Describes authorities that expire before a certificate signed today would.
fn authorities_that_end(survey: &Survey) -> Vec<String> {
    let life = Policy::default().leaf_life.whole_days();
    let ends = |row: &Row| row.file.starts_with("authorities") && row.days_left.is_some_and(|days| days < life);
    let names: BTreeSet<String> = report::list(survey).into_iter().filter(ends).map(|row| row.name).collect();
    let notices = survey.plan.notices.iter().filter(|notice| names.contains(&notice.subject));
    notices.map(|notice| format!("{}: {}", notice.subject, notice.what)).collect()
}

fn is_new(step: &Step) -> bool {
    matches!(step, Step::Issue(_))
}

/// Returns warnings about certificates that are due for renewal and authorities that expire soon. They are still valid.
fn expiring(survey: &Survey) -> Vec<String> {
    let mut warnings = Vec::new();
    let due: Vec<String> = report::list(survey)
        .into_iter()
        .filter(|row| row.state == State::Renew)
        .map(|row| format!("{} ({})", row.name, row.because))
        .collect();
    if let Some((first, rest)) = due.split_first() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        warnings
            .push(format!("certificates expire: {first}{more}; `machinist certs gen` renews them, then deploy again"));
    }
    warnings.extend(authorities_that_end(survey));
    warnings
}

/// Refuses to continue if a certificate that a node needs is missing or invalid. Returns warnings about those that
/// expire soon.
///
/// # Errors
/// A certificate is missing or invalid.
pub fn require(
    certs: &Path,
    cluster: &Cluster,
    nodes: &[NodeName],
    now: OffsetDateTime,
) -> Result<Vec<String>, Failure> {
    let survey = survey(certs, cluster, now)?;
    if let Some(refusal) = survey.plan.refusal() {
        let hint = survey.plan.problems.first().map(|problem| problem.hint.clone());
        return Err(Failure::new(Kind::Input, format!("certs/ is not as it should be:\n{refusal}")).maybe_hint(hint));
    }
    let names: BTreeSet<&str> = nodes.iter().map(NodeName::as_str).collect();
    // A certificate that is only due for renewal is still valid.
    let unusable = |row: &Row| !matches!(row.state, State::Ok | State::Renew | State::Orphan);
    let of_targets = |row: &Row| row.node.as_deref().is_none_or(|node| names.contains(node));
    let bad: BTreeMap<String, String> = report::list(&survey)
        .into_iter()
        .filter(|row| unusable(row) && of_targets(row))
        .map(|row| (row.name, format!("{}: {}", row.state, row.because)))
        .collect();
    if bad.is_empty() {
        return Ok(expiring(&survey));
    }
    let shown: Vec<String> = bad.iter().take(6).map(|(name, why)| format!("{name} ({why})")).collect();
    let more = bad.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("the targets' certificates are not ready: {}{more}", shown.join(", "));
    Err(Failure::new(Kind::Input, message).hint("`machinist certs gen` makes them"))
}

/// Returns the paths of certificates and keys, limited to the rows of the table: a node gets no leftover facts.
pub fn facts(directory: &Path, cluster: &Cluster) -> Result<Certificates, Failure> {
    let inventory = inventory(directory)?;
    let table = pki::table(cluster);
    let mut nodes: BTreeMap<NodeName, BTreeMap<String, Certificate>> = BTreeMap::new();
    for spec in &table.certificates {
        let Holder::Node(node) = &spec.holder else { continue };
        if let Some(entry) = inventory.nodes.get(node).and_then(|leaves| leaves.get(&spec.leaf)) {
            let certificate = Certificate {
                path: entry.certificate.clone(),
                key: entry.key_on_node(&spec.leaf),
                authority: spec.authority.to_string(),
            };
            nodes.entry(node.clone()).or_default().insert(spec.leaf.clone(), certificate);
        }
    }
    let mut key_pairs: BTreeMap<NodeName, BTreeMap<String, KeyPair>> = BTreeMap::new();
    for spec in &table.key_pairs {
        let Some(entry) = inventory.shared.get(&spec.name) else { continue };
        let pair = KeyPair { path: entry.certificate.clone(), key: entry.key_on_node(&spec.name) };
        for node in &spec.holders {
            key_pairs.entry(node.clone()).or_default().insert(spec.name.clone(), pair.clone());
        }
    }
    let control = control_keys(&inventory, &table, cluster)?;
    Ok(Certificates { authorities: inventory.authorities, nodes, key_pairs, hosts: inventory.hosts, control })
}

fn control_keys(
    inventory: &Inventory,
    table: &Table,
    cluster: &Cluster,
) -> Result<BTreeMap<NodeName, ControlKeys>, Failure> {
    let Some(control) = cluster.network.control else { return Ok(BTreeMap::new()) };
    let keys = inventory
        .control_keys(table, control.backend)
        .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
    let of_node = |(node, keys): (NodeName, pki::ControlKeys)| {
        let public = keys.public.into_iter().map(|key| (key.id.to_string(), key.text)).collect();
        (node, ControlKeys { pair: keys.pair, path: keys.path, public })
    };
    Ok(keys.into_iter().map(of_node).collect())
}
