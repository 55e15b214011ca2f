//! Comparison of what a cluster publishes with what the zone has. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    desired::{Desired, Note},
    owner::{self, Claim},
    zone::{Contents, FoundSet, Key, Set, full},
};

/// Changes of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The zone.
    pub zone: String,
    /// Changes, sorted by name and type.
    pub changes: Vec<Change>,
    /// Names that have no address.
    pub notes: Vec<Note>,
    /// What is wrong with the zone.
    pub warnings: Vec<String>,
    /// Sets of records that are as they have to be.
    pub unchanged: usize,
}

/// Change of a set of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Name and type.
    #[serde(flatten)]
    pub key: Key,
    /// What happens to it.
    pub verb: Verb,
    /// Seconds.
    pub ttl: u32,
    /// The values afterwards.
    pub values: BTreeSet<String>,
    /// The values before.
    pub before: BTreeSet<String>,
    /// Seconds before, if the set has a time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_before: Option<u32>,
    /// True if the TXT record of the owner is missing.
    #[serde(skip)]
    pub unclaimed: bool,
}

/// What happens to a set of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It is created.
    Create,
    /// It gets other values, or another time.
    Change,
    /// It is deleted.
    Delete,
}

/// Reason why nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// The way to fix it.
    pub hint: String,
}

impl Plan {
    /// Returns true if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the number of changes of a kind.
    #[must_use]
    pub fn count(&self, verb: Verb) -> usize {
        self.changes.iter().filter(|change| change.verb == verb).count()
    }
}

impl Change {
    /// Returns the set as it has to be.
    #[must_use]
    pub fn set(&self) -> Set {
        Set { key: self.key.clone(), ttl: self.ttl, values: self.values.clone() }
    }
}

/// Compares.
///
/// # Errors
/// A name has records of others, or the zone cannot be changed. All problems, sorted by name.
pub fn plan(desired: &Desired, contents: &Contents) -> Result<Plan, Vec<Problem>> {
    let claims = Claims::of(&desired.cluster, contents);
    let mut problems: Vec<Problem> = contents.refusal.iter().map(|reason| refusal(&desired.zone, reason)).collect();
    let mut changes = BTreeMap::new();
    let mut unchanged = 0;
    for set in desired.sets() {
        let found = contents.set(&set.key.name, set.key.kind.name());
        if let Some(problem) = foreign(desired, contents, &claims, &set.key, found) {
            problems.push(problem);
            continue;
        }
        let unclaimed = !claims.own.contains(&set.key);
        match found {
            Some(found) if found.is(&set) => unchanged += 1,
            Some(found) if found.protected => problems.push(protected(desired, found)),
            found => drop(changes.insert(set.key.clone(), change(set, found, unclaimed))),
        }
    }
    for key in claims.own.iter().filter(|key| !desired.sets.contains_key(key)) {
        let found = contents.set(&key.name, key.kind.name());
        match found {
            Some(found) if found.protected => problems.push(protected(desired, found)),
            found => drop(changes.insert(key.clone(), deletion(desired, key, found))),
        }
    }
    if problems.is_empty() {
        Ok(Plan {
            zone: desired.zone.clone(),
            changes: changes.into_values().collect(),
            notes: desired.notes.clone(),
            warnings: contents.warnings.clone(),
            unchanged,
        })
    } else {
        Err(problems)
    }
}

/// Claims of a zone.
struct Claims {
    own: BTreeSet<Key>,
    others: BTreeMap<Key, String>,
}

impl Claims {
    fn of(cluster: &str, contents: &Contents) -> Self {
        let all: Vec<Claim> = contents.sets.iter().flat_map(owner::claims).collect();
        let (own, others): (Vec<Claim>, Vec<Claim>) = all.into_iter().partition(|claim| claim.cluster == cluster);
        Self {
            own: own.into_iter().map(|claim| claim.key).collect(),
            others: others.into_iter().map(|claim| (claim.key, claim.cluster)).collect(),
        }
    }
}

fn change(set: Set, found: Option<&FoundSet>, unclaimed: bool) -> Change {
    Change {
        verb: if found.is_some() { Verb::Change } else { Verb::Create },
        before: found.map(FoundSet::values).unwrap_or_default(),
        ttl_before: found.and_then(|found| found.ttl),
        key: set.key,
        ttl: set.ttl,
        values: set.values,
        unclaimed,
    }
}

fn deletion(desired: &Desired, key: &Key, found: Option<&FoundSet>) -> Change {
    Change {
        key: key.clone(),
        verb: Verb::Delete,
        ttl: found.and_then(|found| found.ttl).unwrap_or(desired.ttl),
        values: BTreeSet::new(),
        before: found.map(FoundSet::values).unwrap_or_default(),
        ttl_before: found.and_then(|found| found.ttl),
        unclaimed: false,
    }
}

/// Returns the reason why a set cannot be ours.
fn foreign(
    desired: &Desired,
    contents: &Contents,
    claims: &Claims,
    key: &Key,
    found: Option<&FoundSet>,
) -> Option<Problem> {
    let name = full(&key.name, &desired.zone);
    if let Some(cluster) = claims.others.get(key) {
        return Some(Problem {
            message: format!("{name} {} belongs to the cluster {}", key.kind, crate::error::cleaned(cluster)),
            hint: "two clusters cannot publish one name: rename it in one of them".to_owned(),
        });
    }
    if found.is_some() && !claims.own.contains(key) {
        let owner = full(&owner::name(&key.name), &desired.zone);
        let text = owner::text(&desired.cluster, key.kind);
        return Some(Problem {
            message: format!("{name} {} exists and is not of this cluster", key.kind),
            hint: format!(
                "delete it at the provider, or rename it in machines.nix; to hand it over, add the TXT record \
                 {owner} \"{text}\""
            ),
        });
    }
    if contents.set(&key.name, "CNAME").is_some() {
        return Some(Problem {
            message: format!("{name} is an alias (CNAME), which excludes other records of the name"),
            hint: "delete it at the provider, or rename it in machines.nix".to_owned(),
        });
    }
    let delegated = delegation(contents, &key.name)?;
    let (below, zone) = (full(&delegated, &desired.zone), &desired.zone);
    Some(Problem {
        message: format!("{name} would not be found: {below} is delegated to other name servers (NS)"),
        hint: format!("write the zone {below} in machines.nix, or delete its NS records in {zone}"),
    })
}

/// Returns the name at or above this one that has name servers of its own.
fn delegation(contents: &Contents, name: &str) -> Option<String> {
    let delegated = contents.sets.iter().filter(|set| set.kind == "NS" && set.name != "@");
    let mut above = delegated
        .filter(|set| name.strip_suffix(set.name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    above.next().map(|set| set.name.clone())
}

fn protected(desired: &Desired, found: &FoundSet) -> Problem {
    let name = full(&found.name, &desired.zone);
    Problem {
        message: format!("{name} {} is protected at the provider, and differs", found.kind),
        hint: "end the protection in its console".to_owned(),
    }
}

fn refusal(zone: &str, reason: &str) -> Problem {
    Problem {
        message: format!("records of {zone} cannot be written: {reason}"),
        hint: "change it in the provider's console, or write another zone in machines.nix".to_owned(),
    }
}
