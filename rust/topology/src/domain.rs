//! Failure domains: machines that fail together.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{Cluster, Node, NodeName};
use serde::Serialize;

/// Labels that say where a machine stands, from the smallest place to the largest.
const PLACES: [(&str, &str); 8] = [
    ("host", "host"),
    ("rack", "rack"),
    ("zone", "zone"),
    ("topology.kubernetes.io/zone", "zone"),
    ("datacenter", "datacenter"),
    ("site", "site"),
    ("region", "region"),
    ("topology.kubernetes.io/region", "region"),
];

/// A way to divide the machines, such as by zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Division {
    /// The kind of its domains: `machine`, `zone`, `location` ...
    pub kind: String,
    /// Machines by the name of their domain. A machine that belongs to none is not in it: it fails alone.
    pub domains: BTreeMap<String, BTreeSet<NodeName>>,
}

impl Division {
    /// Returns the domains as sets of machines; a machine of no domain is one of its own.
    pub fn groups<'a>(&'a self, all: &'a BTreeSet<NodeName>) -> impl Iterator<Item = BTreeSet<NodeName>> + 'a {
        let placed: BTreeSet<&NodeName> = self.domains.values().flatten().collect();
        let alone = all.iter().filter(move |node| !placed.contains(node));
        self.domains.values().cloned().chain(alone.map(|node| BTreeSet::from([node.clone()])))
    }

    /// Returns the name of the domain of the machine, if it has one.
    #[must_use]
    pub fn of(&self, node: &NodeName) -> Option<&str> {
        self.domains.iter().find_map(|(name, nodes)| nodes.contains(node).then_some(name.as_str()))
    }
}

/// Returns the divisions of the cluster's enabled machines, by machine first, then from the smallest place to the
/// largest: labels, the label `by` if there is one, locations of providers, and providers if there are several.
#[must_use]
pub fn divisions(cluster: &Cluster, by: Option<&str>) -> Vec<Division> {
    let machines = division(cluster, "machine", |node| Some(node.name.to_string()));
    let labels = PLACES.into_iter().filter(|(label, _)| Some(*label) != by);
    let of_label = |label: &str, kind: &str| division(cluster, kind, |node| node.labels.get(label).cloned());
    let mut divisions: Vec<Division> = by.into_iter().filter_map(|label| of_label(label, label)).collect();
    divisions.extend(labels.filter_map(|(label, kind)| of_label(label, kind)));
    divisions.extend(division(cluster, "location", location));
    divisions.extend(division(cluster, "provider", provider).filter(|providers| providers.domains.len() > 1));
    machines.into_iter().chain(divisions).collect()
}

fn division(cluster: &Cluster, kind: &str, place: impl Fn(&Node) -> Option<String>) -> Option<Division> {
    let mut domains: BTreeMap<String, BTreeSet<NodeName>> = BTreeMap::new();
    for node in cluster.nodes.values().filter(|node| node.enable) {
        if let Some(name) = place(node) {
            domains.entry(name).or_default().insert(node.name.clone());
        }
    }
    (!domains.is_empty()).then(|| Division { kind: kind.to_owned(), domains })
}

fn location(node: &Node) -> Option<String> {
    let hetzner = node.hetzner.as_ref().map(|server| server.location.clone());
    hetzner.or_else(|| node.digitalocean.as_ref().map(|server| server.region.clone()))
}

/// A machine that machinist does not deploy, such as a Router, has no provider.
fn provider(node: &Node) -> Option<String> {
    let name = match node.provider {
        machinist_model::Provider::Sandbox => "sandbox",
        machinist_model::Provider::SelfHosted => "self-hosted",
        machinist_model::Provider::Hetzner => "hetzner",
        machinist_model::Provider::Digitalocean => "digitalocean",
    };
    node.is_deployable().then(|| name.to_owned())
}
