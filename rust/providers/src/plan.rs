//! Comparison of what a cluster needs with what exists: the changes, their price, and the reasons against them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::NodeName;
use serde::Serialize;

use crate::{
    desired::{Addressing, Desired, Server},
    observed::{Catalogue, FoundServer, Id, Observed, Offer, Price, ServerType},
};

/// Servers in one group at most (Hetzner, "Placement Groups").
pub const GROUP_SIZE: usize = 10;
/// Alternatives that are offered for a type that is not there.
const ALTERNATIVES: usize = 3;

/// What a run will do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Changes of what the servers share.
    pub shared: Vec<SharedChange>,
    /// Changes of servers, sorted by node. A server without steps is complete.
    pub servers: Vec<ServerChange>,
    /// Facts that the operator should know, which stop nothing.
    pub notes: Vec<String>,
    /// Price of the servers of this plan that exist.
    pub before: Price,
    /// Price of all servers of this plan afterwards.
    pub after: Price,
    /// Currency of the prices.
    pub currency: String,
}

/// Change of something that servers share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SharedChange {
    /// `create` or `update`.
    pub verb: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Details for a person.
    pub detail: String,
}

/// Change of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerChange {
    /// The server as machines.nix describes it.
    #[serde(flatten)]
    pub server: Server,
    /// What is missing, in the order of work.
    pub steps: Vec<Step>,
    /// Its price.
    pub price: Price,
    /// The server that exists.
    #[serde(skip)]
    pub found: Option<FoundServer>,
}

/// A step towards a complete server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Create it, switched off.
    Create,
    /// Attach it to the private network at its address.
    Attach,
    /// Put it behind its firewall.
    Protect,
    /// Switch it on.
    PowerOn,
}

/// Reason why nothing is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The node, if it is about one.
    pub node: Option<NodeName>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Plan {
    /// Returns true if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.servers.iter().all(|server| server.steps.is_empty())
    }
}

/// Returns what servers share and is missing, of what exists after an earlier round.
#[must_use]
pub fn missing(desired: &Desired, observed: &Observed) -> Vec<SharedChange> {
    shared(desired, observed, &Catalogue::default(), &mut Vec::new())
}

/// What the operator wants of a run.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The nodes whose servers belong to the plan.
    pub nodes: BTreeSet<NodeName>,
    /// The identifiers of servers that were recorded.
    pub recorded: BTreeMap<NodeName, Id>,
}

/// Compares. What the whole cluster has in common is judged by all servers of `desired`.
///
/// # Errors
/// Every reason why a server could not be created, so that none is.
pub fn plan(
    desired: &Desired,
    wanted: &Wanted,
    observed: &Observed,
    catalogue: &Catalogue,
) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut notes = orphans(desired, observed);
    let shared = shared(desired, observed, catalogue, &mut problems);
    let mut servers = Vec::new();
    for server in desired.servers.iter().filter(|server| wanted.nodes.contains(&server.node)) {
        let recorded = wanted.recorded.get(&server.node);
        let found = found(server, recorded, observed, &mut problems);
        let price = match &found {
            Some(found) => {
                differences(server, found, observed, &mut problems, &mut notes);
                price(&found.server_type, &found.location, found.ipv4.is_some(), catalogue)
            }
            None => {
                absent(server, recorded, observed, &mut problems);
                possible(server, catalogue, &mut problems, &mut notes);
                price(&server.server_type, &server.location, server.ipv4, catalogue)
            }
        };
        let steps = steps(desired.addressing, server, found.as_ref(), observed);
        servers.push(ServerChange { server: server.clone(), steps, price, found });
    }
    crowded(desired, &mut problems);
    zones(desired, catalogue, &mut problems);
    full(&servers, catalogue, &mut problems);
    occupied(observed, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let before = servers.iter().filter(|change| change.found.is_some()).map(|change| change.price).sum();
    let after = servers.iter().map(|change| change.price).sum();
    Ok(Plan { shared, servers, notes, before, after, currency: catalogue.currency.clone() })
}

/// Returns the node's server: by its record, its label or its name.
fn found(
    server: &Server,
    recorded: Option<&Id>,
    observed: &Observed,
    problems: &mut Vec<Problem>,
) -> Option<FoundServer> {
    let matches = |found: &&FoundServer| {
        recorded == Some(&found.id) || found.node.as_ref() == Some(&server.node) || found.name == server.name
    };
    let all: Vec<&FoundServer> = observed.servers.iter().filter(matches).collect();
    if all.len() > 1 {
        let names: Vec<String> = all.iter().map(|found| format!("{} ({})", found.name, found.id.0)).collect();
        problems.push(Problem {
            node: Some(server.node.clone()),
            message: format!("it has {} servers: {}", all.len(), names.join(", ")),
            hint: Some("delete one, or change its label machinist/node, in the provider's console".to_owned()),
        });
    }
    all.first().map(|found| (*found).clone())
}

/// Names servers that cost and are not in machines.nix.
fn orphans(desired: &Desired, observed: &Observed) -> Vec<String> {
    let known = |found: &&FoundServer| {
        desired.servers.iter().any(|server| found.node.as_ref() == Some(&server.node) || found.name == server.name)
    };
    let orphans = observed.servers.iter().filter(|found| !known(found));
    let words = orphans.map(|found| {
        let node = found.node.as_ref().map_or(found.name.as_str(), NodeName::as_str);
        format!("the server {} is not in machines.nix, and costs; `machinist destroy {node}` deletes it", found.name)
    });
    words.collect()
}

/// Refuses to create a second server for one that is recorded, whose name or address others have.
fn absent(server: &Server, recorded: Option<&Id>, observed: &Observed, problems: &mut Vec<Problem>) {
    let node = &server.node;
    let mut problem = |message: String, hint: String| {
        problems.push(Problem { node: Some(node.clone()), message, hint: Some(hint) });
    };
    if let Some(id) = observed.foreign.get(&server.name) {
        problem(
            format!("a server that is not this cluster's is called {}", server.name),
            if recorded == Some(id) {
                "it is the recorded one without its label machinist/cluster; add that in the provider's console"
                    .to_owned()
            } else {
                "rename the machine or the cluster; or, if it is this cluster's, add its label machinist/cluster"
                    .to_owned()
            },
        );
    } else if let Some(Id(id)) = recorded {
        problem(
            format!("its recorded server {id} is not in this project"),
            format!("use the token of its project; if it was deleted there, forget it with `machinist destroy {node}`"),
        );
    }
    if let Some((ip, other)) = server.ip.and_then(|ip| Some((ip, observed.taken.get(&ip)?))) {
        let hint = "use another address; `machinist destroy` deletes a server of the cluster".to_owned();
        problem(format!("its address {ip} is that of the server {other}"), hint);
    }
    if let Some(ip) = server.ip.filter(|_| server.is_declared) {
        let hint = "leave ip out; provision records the address that the provider gives".to_owned();
        problem(format!("its address {ip} cannot be asked for: the provider chooses it"), hint);
    }
}

fn shared(
    desired: &Desired,
    observed: &Observed,
    catalogue: &Catalogue,
    problems: &mut Vec<Problem>,
) -> Vec<SharedChange> {
    let mut changes = Vec::new();
    for key in desired.keys.iter().filter(|key| !observed.keys.contains_key(&key.line)) {
        changes.push(change("create", "ssh key", &key.name, String::new()));
    }
    let network = &desired.network;
    let first = desired.servers.first().map(|server| server.location.as_str()).unwrap_or_default();
    let zone = catalogue.locations.get(first).map(String::as_str).unwrap_or_default();
    let place = format!("{} in {zone}", network.range);
    match &observed.network {
        None => changes.push(change("create", "network", &network.name, place)),
        Some(found) if found.range != Some(network.range) => {
            let range = found.range.map(|range| range.to_string()).unwrap_or_default();
            problems.push(Problem {
                node: None,
                message: format!("the network {} is {range}, machines.nix says {}", found.name, network.range),
                hint: Some(format!("write network.nodes = \"{range}\", or remove all servers of the cluster first")),
            });
        }
        Some(found) if found.subnets.is_empty() => changes.push(change("create", "subnet", &network.name, place)),
        Some(_) => {}
    }
    for group in desired.groups.iter().filter(|group| !observed.groups.contains_key(*group)) {
        changes.push(change("create", "placement group", group, "spread: no two on one host".to_owned()));
    }
    for firewall in &desired.firewalls {
        let ports: Vec<String> = firewall.rules.iter().map(rule).collect();
        let verb = match observed.firewalls.get(&firewall.name) {
            None => "create",
            Some(found) if found.rules.as_ref() != Some(&firewall.rules) => "update",
            Some(_) => continue,
        };
        changes.push(change(verb, "firewall", &firewall.name, format!("in: {}", ports.join(", "))));
    }
    changes
}

fn change(verb: &'static str, kind: &'static str, name: &str, detail: String) -> SharedChange {
    SharedChange { verb, kind, name: name.to_owned(), detail }
}

fn rule(rule: &crate::desired::Rule) -> String {
    let port = rule.port.as_ref().map(|port| format!(" {port}")).unwrap_or_default();
    let source = rule.source.map(|source| format!(" from {source}")).unwrap_or_default();
    format!("{}{port}{source}", rule.protocol)
}

fn steps(addressing: Addressing, server: &Server, found: Option<&FoundServer>, observed: &Observed) -> Vec<Step> {
    let Some(found) = found else {
        return match addressing {
            Addressing::Declared => vec![Step::Create, Step::Attach, Step::PowerOn],
            Addressing::Given => vec![Step::Create],
        };
    };
    let network = observed.network.as_ref().map(|network| &network.id);
    let attached = found.private.iter().any(|interface| Some(&interface.network) == network);
    let firewall = observed.firewalls.get(&server.firewall).map(|firewall| &firewall.id);
    let protected = firewall.is_some_and(|firewall| found.firewalls.contains(firewall));
    let missing = [(Step::Attach, !attached), (Step::Protect, !protected), (Step::PowerOn, !found.on)];
    missing.into_iter().filter(|(_, missing)| *missing).map(|(step, _)| step).collect()
}

/// Compares a server that exists with its description. machinist changes neither type nor place of a server.
fn differences(
    server: &Server,
    found: &FoundServer,
    observed: &Observed,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) {
    let node = &server.node;
    for (what, has, wanted) in
        [("type", &found.server_type, &server.server_type), ("location", &found.location, &server.location)]
    {
        if has != wanted {
            notes.push(format!(
                "{node}: its server has the {what} {has}, machines.nix says {wanted}; provision changes no server that \
                 exists"
            ));
        }
    }
    if found.ending {
        let message = "the provider is deleting its server".to_owned();
        let hint = Some("wait until it is gone, then run this again".to_owned());
        problems.push(Problem { node: Some(node.clone()), message, hint });
    }
    let network = observed.network.as_ref().map(|network| &network.id);
    let own = found.private.iter().find(|interface| Some(&interface.network) == network);
    let other = own.and_then(|interface| Some((interface.ip, server.ip?))).filter(|(has, wanted)| has != wanted);
    if let Some((address, wanted)) = other {
        problems.push(Problem {
            node: Some(node.clone()),
            message: format!("its server has the private address {address}, machines.nix says {wanted}"),
            hint: Some(format!("write ip = \"{address}\"; provision moves no server that exists")),
        });
    }
}

fn possible(server: &Server, catalogue: &Catalogue, problems: &mut Vec<Problem>, notes: &mut Vec<String>) {
    let mut problem = |message: String, hint: Option<String>| {
        problems.push(Problem { node: Some(server.node.clone()), message, hint });
    };
    if !catalogue.locations.contains_key(&server.location) {
        let known: Vec<&str> = catalogue.locations.keys().map(String::as_str).collect();
        return problem(
            format!("there is no location {}", server.location),
            Some(format!("known: {}", known.join(", "))),
        );
    }
    let Some(kind) = catalogue.types.iter().find(|kind| kind.name == server.server_type) else {
        let hint = alternatives(server, None, catalogue);
        return problem(format!("there is no server type {}", server.server_type), hint);
    };
    if kind.system != server.system {
        let message = format!("{} is {}, machines.nix says {}", kind.name, kind.system, server.system);
        return problem(message, Some(format!("write system = \"{}\", or another type", kind.system)));
    }
    if !catalogue.images.contains(&(server.image.clone(), kind.system.clone())) {
        let images: BTreeSet<&str> = catalogue.images.iter().map(|(name, _)| name.as_str()).collect();
        let known: Vec<&str> = images.into_iter().collect();
        let hint = format!("known: {}", known.join(", "));
        problem(format!("there is no image {} for {}", server.image, kind.system), Some(hint));
    }
    match kind.offers.iter().find(|offer| offer.location == server.location) {
        Some(Offer { price, .. }) if price.monthly <= 0.0 => {
            problem(format!("the price of {} in {} is not known", kind.name, server.location), None);
        }
        Some(Offer { available: true, until, .. }) => notes
            .extend(until.iter().map(|until| format!("{}: {} will not be sold after {until}", server.node, kind.name))),
        offer => {
            let why = if offer.is_some() { "is sold out" } else { "cannot be had" };
            let message = format!("{} {why} in {}", kind.name, server.location);
            problem(message, alternatives(server, Some(kind), catalogue));
        }
    }
}

/// Returns the same type elsewhere in the zone, and the cheapest types of the location that are at least as large.
fn alternatives(server: &Server, kind: Option<&ServerType>, catalogue: &Catalogue) -> Option<String> {
    let zone = catalogue.locations.get(&server.location);
    let mut words: Vec<String> = Vec::new();
    let elsewhere = kind.into_iter().flat_map(|kind| &kind.offers).filter(|offer| {
        offer.available && offer.location != server.location && catalogue.locations.get(&offer.location) == zone
    });
    words.extend(elsewhere.map(|offer| format!("{} in {}", server.server_type, offer.location)).take(ALTERNATIVES));
    let large = |other: &&ServerType| {
        other.system == server.system
            && kind
                .is_none_or(|kind| other.name != kind.name && other.cores >= kind.cores && other.memory >= kind.memory)
    };
    let mut here: Vec<(&ServerType, &Offer)> = catalogue
        .types
        .iter()
        .filter(large)
        .filter_map(|other| {
            let offer = other.offers.iter().find(|offer| offer.location == server.location && offer.available)?;
            Some((other, offer))
        })
        .collect();
    here.sort_by(|(_, one), (_, other)| one.price.monthly.total_cmp(&other.price.monthly));
    words.extend(here.into_iter().take(ALTERNATIVES).map(|(kind, offer)| {
        let ServerType { name, cores, memory, .. } = kind;
        format!("{name} ({cores} cores, {memory} GB, {:.2} {} a month)", offer.price.monthly, catalogue.currency)
    }));
    (!words.is_empty()).then(|| format!("there is: {}", words.join("; ")))
}

/// Returns the price of a server; zero for a type that is not sold any more.
fn price(server_type: &str, location: &str, ipv4: bool, catalogue: &Catalogue) -> Price {
    let kind = catalogue.types.iter().find(|kind| kind.name == server_type);
    let offer = kind.and_then(|kind| kind.offers.iter().find(|offer| offer.location == location));
    let address = catalogue.ipv4.get(location).filter(|_| ipv4);
    offer.map(|offer| offer.price).into_iter().chain(address.copied()).sum()
}

fn crowded(desired: &Desired, problems: &mut Vec<Problem>) {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for group in desired.servers.iter().filter_map(|server| server.group.as_deref()) {
        *sizes.entry(group).or_default() += 1;
    }
    for (group, size) in sizes.into_iter().filter(|(_, size)| *size > GROUP_SIZE) {
        problems.push(Problem {
            node: None,
            message: format!("{size} servers would be in the placement group {group}, which takes {GROUP_SIZE}"),
            hint: Some("at most 10 machines with the role etcd or control-plane".to_owned()),
        });
    }
}

fn zones(desired: &Desired, catalogue: &Catalogue, problems: &mut Vec<Problem>) {
    let zones: BTreeSet<&str> = desired
        .servers
        .iter()
        .filter_map(|server| catalogue.locations.get(&server.location).map(String::as_str))
        .collect();
    if zones.len() > 1 {
        let zones: Vec<&str> = zones.into_iter().collect();
        problems.push(Problem {
            node: None,
            message: format!("the servers are in {} network zones ({})", zones.len(), zones.join(", ")),
            hint: Some("a private network has one; choose locations of one zone".to_owned()),
        });
    }
}

/// Compares with the account's limit, where the provider tells it before the first server.
fn full(servers: &[ServerChange], catalogue: &Catalogue, problems: &mut Vec<Problem>) {
    let new = servers.iter().filter(|change| change.found.is_none()).count() as u64;
    let Some(room) = catalogue.room.filter(|room| room.used.saturating_add(new) > room.limit && new > 0) else {
        return;
    };
    problems.push(Problem {
        node: None,
        message: format!("{new} servers would be created, but {} of the account's {} exist", room.used, room.limit),
        hint: Some("request a higher limit in the provider's console, or remove what is not needed".to_owned()),
    });
}

fn occupied(observed: &Observed, problems: &mut Vec<Problem>) {
    problems.extend(observed.occupied.iter().map(|thing| Problem {
        node: None,
        message: format!("the {thing} is not this cluster's, which needs one of that name"),
        hint: Some("rename it in the provider's console, or rename the cluster".to_owned()),
    }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};
    use machinist_model::{Cluster, HetznerServer, NodeName, Provider, fixtures};

    use super::{Plan, Problem, Step, Wanted};
    use crate::{
        desired::{self, Desired},
        observed::{
            Catalogue, Found, FoundFirewall, FoundNetwork, FoundServer, Id, Observed, Offer, Price, PrivateInterface,
            ServerType,
        },
    };

    /// Compares for all nodes, without a record.
    fn plan(desired: &Desired, observed: &Observed, catalogue: &Catalogue) -> Result<Plan, Vec<Problem>> {
        let nodes = desired.servers.iter().map(|server| server.node.clone()).collect();
        super::plan(desired, &Wanted { nodes, ..Wanted::default() }, observed, catalogue)
    }

    fn cluster() -> Cluster {
        let mut cluster = fixtures::three_member_etcd();
        for node in cluster.nodes.values_mut().filter(|node| node.nixos) {
            node.provider = Provider::Hetzner;
            node.hetzner = Some(HetznerServer {
                server_type: "cx23".to_owned(),
                location: "nbg1".to_owned(),
                image: "debian-13".to_owned(),
                ipv4: true,
                ipv6: true,
            });
        }
        cluster
    }

    fn desired() -> Desired {
        desired::at_hetzner(&cluster()).unwrap()
    }

    fn kind(name: &str, system: &str, cores: u64, offers: &[(&str, f64, bool)]) -> ServerType {
        let offers = offers.iter().map(|(location, monthly, available)| Offer {
            location: (*location).to_owned(),
            price: Price { hourly: monthly / 600.0, monthly: *monthly },
            available: *available,
            until: None,
        });
        ServerType {
            name: name.to_owned(),
            system: system.to_owned(),
            cores,
            memory: cores as f64 * 2.0,
            disk: 40,
            offers: offers.collect(),
        }
    }

    fn catalogue() -> Catalogue {
        let locations = [("nbg1", "eu-central"), ("hel1", "eu-central"), ("ash", "us-east")];
        Catalogue {
            currency: "EUR".to_owned(),
            types: vec![
                kind("cx23", "x86_64-linux", 2, &[("nbg1", 3.0, true), ("hel1", 3.0, true), ("ash", 4.0, true)]),
                kind("cx33", "x86_64-linux", 4, &[("nbg1", 6.0, true)]),
                kind("cpx11", "x86_64-linux", 1, &[("nbg1", 2.0, true)]),
                kind("cax11", "aarch64-linux", 2, &[("nbg1", 2.5, true)]),
            ],
            locations: locations.iter().map(|(name, zone)| ((*name).to_owned(), (*zone).to_owned())).collect(),
            ipv4: [("nbg1".to_owned(), Price { hourly: 0.001, monthly: 0.5 })].into(),
            images: [("debian-13", "x86_64-linux"), ("debian-13", "aarch64-linux"), ("ubuntu-24.04", "x86_64-linux")]
                .map(|(name, system)| (name.to_owned(), system.to_owned()))
                .into(),
            room: None,
        }
    }

    /// Everything that a run has created, with servers that run.
    fn complete(desired: &Desired) -> Observed {
        let id = |name: &str| Id(name.to_owned());
        let found = |name: &String| (name.clone(), Found { id: id(name), name: name.clone(), ours: true });
        let firewalls = desired.firewalls.iter().map(|firewall| {
            let rules = Some(firewall.rules.clone());
            (
                firewall.name.clone(),
                FoundFirewall { id: id(&firewall.name), name: firewall.name.clone(), rules, members: 0 },
            )
        });
        let servers = desired.servers.iter().map(|server| FoundServer {
            id: id(&server.name),
            name: server.name.clone(),
            node: Some(server.node.clone()),
            server_type: server.server_type.clone(),
            location: server.location.clone(),
            on: true,
            ending: false,
            protected: false,
            first_key: None,
            state: "running".to_owned(),
            ipv4: Some([203, 0, 113, 7].into()),
            ipv6: None,
            private: vec![PrivateInterface {
                network: id("net"),
                ip: server.ip.unwrap(),
                mac: Some("86:00:00:00:00:01".to_owned()),
            }],
            firewalls: [id(&server.firewall)].into(),
            fixed: None,
        });
        Observed {
            keys: desired.keys.iter().map(|key| (key.line.clone(), found(&key.name).1)).collect(),
            network: Some(FoundNetwork {
                id: id("net"),
                name: desired.network.name.clone(),
                range: Some(desired.network.range),
                subnets: vec![desired.network.range],
                members: 3,
            }),
            groups: desired.groups.iter().map(found).collect(),
            firewalls: firewalls.collect(),
            servers: servers.collect(),
            foreign: BTreeMap::new(),
            taken: BTreeMap::new(),
            occupied: std::collections::BTreeSet::new(),
            leftovers: Vec::new(),
        }
    }

    fn words(plan: &Plan) -> String {
        let mut lines: Vec<String> = plan
            .shared
            .iter()
            .map(|change| format!("{} {} {} {}", change.verb, change.kind, change.name, change.detail))
            .collect();
        lines.extend(plan.servers.iter().map(|change| format!("{} {:?}", change.server.name, change.steps)));
        lines.extend(plan.notes.iter().cloned());
        lines.push(format!("{:.2} -> {:.2} {}", plan.before.monthly, plan.after.monthly, plan.currency));
        lines.join("\n")
    }

    #[track_caller]
    fn check(desired: &Desired, observed: &Observed, catalogue: &Catalogue, expect: &Expect) {
        let text = match plan(desired, observed, catalogue) {
            Ok(plan) => words(&plan),
            Err(problems) => problems
                .iter()
                .map(|problem| {
                    let node = problem.node.as_ref().map_or("", NodeName::as_str);
                    format!("{node}: {}; {}", problem.message, problem.hint.as_deref().unwrap_or_default())
                })
                .collect::<Vec<_>>()
                .join("\n"),
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn everything_is_created_once_with_its_price() {
        check(
            &desired(),
            &Observed::default(),
            &catalogue(),
            &expect![[r#"
            create ssh key magi-ops 
            create network magi 10.13.13.0/24 in eu-central
            create placement group magi-control spread: no two on one host
            create firewall magi-nodes in: icmp, tcp 22
            magi-balthazar [Create, Attach, PowerOn]
            magi-casper [Create, Attach, PowerOn]
            magi-melchior [Create, Attach, PowerOn]
            0.00 -> 10.50 EUR"#]],
        );
        let desired = desired();
        let nothing = plan(&desired, &complete(&desired), &catalogue()).unwrap();
        assert!(nothing.is_empty(), "{nothing:?}");
        assert_eq!(nothing.before, nothing.after);
    }

    #[test]
    fn a_server_that_was_left_half_made_is_finished() {
        let desired = desired();
        let mut observed = complete(&desired);
        observed.servers[0].private.clear();
        observed.servers[0].on = false;
        observed.servers[1].firewalls.clear();
        observed.firewalls.values_mut().for_each(|firewall| firewall.rules = None);
        let plan = plan(&desired, &observed, &catalogue()).unwrap();
        let steps: Vec<&[Step]> = plan.servers.iter().map(|change| change.steps.as_slice()).collect();
        assert_eq!(steps, [&[Step::Attach, Step::PowerOn][..], &[Step::Protect], &[]]);
        assert_eq!(plan.shared.iter().map(|change| change.verb).collect::<Vec<_>>(), ["update"]);
    }

    #[test]
    fn what_is_sold_out_or_unknown_is_refused_before_the_first_server_with_alternatives() {
        let mut catalogue = catalogue();
        catalogue.types[0].offers[0].available = false;
        check(
            &desired(),
            &Observed::default(),
            &catalogue,
            &expect![[r#"
            balthazar: cx23 is sold out in nbg1; there is: cx23 in hel1; cx33 (4 cores, 8 GB, 6.00 EUR a month)
            casper: cx23 is sold out in nbg1; there is: cx23 in hel1; cx33 (4 cores, 8 GB, 6.00 EUR a month)
            melchior: cx23 is sold out in nbg1; there is: cx23 in hel1; cx33 (4 cores, 8 GB, 6.00 EUR a month)"#]],
        );
        catalogue.types.remove(0);
        check(
            &desired(),
            &Observed::default(),
            &catalogue,
            &expect![[r#"
            balthazar: there is no server type cx23; there is: cpx11 (1 cores, 2 GB, 2.00 EUR a month); cx33 (4 cores, 8 GB, 6.00 EUR a month)
            casper: there is no server type cx23; there is: cpx11 (1 cores, 2 GB, 2.00 EUR a month); cx33 (4 cores, 8 GB, 6.00 EUR a month)
            melchior: there is no server type cx23; there is: cpx11 (1 cores, 2 GB, 2.00 EUR a month); cx33 (4 cores, 8 GB, 6.00 EUR a month)"#]],
        );
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused() {
        let mut cluster = cluster();
        let mut nodes = cluster.nodes.values_mut().filter(|node| node.hetzner.is_some());
        nodes.next().unwrap().hetzner.as_mut().unwrap().server_type = "cax11".to_owned();
        nodes.next().unwrap().hetzner.as_mut().unwrap().location = "ash".to_owned();
        nodes.next().unwrap().hetzner.as_mut().unwrap().image = "debian-8".to_owned();
        let desired = desired::at_hetzner(&cluster).unwrap();
        check(
            &desired,
            &Observed::default(),
            &catalogue(),
            &expect![[r#"
            balthazar: cax11 is aarch64-linux, machines.nix says x86_64-linux; write system = "aarch64-linux", or another type
            melchior: there is no image debian-8 for x86_64-linux; known: debian-13, ubuntu-24.04
            : the servers are in 2 network zones (eu-central, us-east); a private network has one; choose locations of one zone"#]],
        );
    }

    #[test]
    fn a_name_that_others_have_and_another_network_are_refused() {
        let desired = desired();
        let mut observed =
            Observed { foreign: [("magi-balthazar".to_owned(), Id("9".to_owned()))].into(), ..Observed::default() };
        let mut other = complete(&desired).network.unwrap();
        other.range = Some("10.99.0.0/16".parse().unwrap());
        observed.network = Some(other);
        check(
            &desired,
            &observed,
            &catalogue(),
            &expect![[r#"
                : the network magi is 10.99.0.0/16, machines.nix says 10.13.13.0/24; write network.nodes = "10.99.0.0/16", or remove all servers of the cluster first
                balthazar: a server that is not this cluster's is called magi-balthazar; rename the machine or the cluster; or, if it is this cluster's, add its label machinist/cluster"#]],
        );
    }

    #[test]
    fn a_server_with_another_type_is_kept_and_noted_and_one_with_another_address_is_refused() {
        let desired = desired();
        let mut observed = complete(&desired);
        observed.servers[0].server_type = "cx22".to_owned();
        observed.servers[1].location = "hel1".to_owned();
        check(
            &desired,
            &observed,
            &catalogue(),
            &expect![[r#"
                magi-balthazar []
                magi-casper []
                magi-melchior []
                balthazar: its server has the type cx22, machines.nix says cx23; provision changes no server that exists
                casper: its server has the location hel1, machines.nix says nbg1; provision changes no server that exists
                7.00 -> 7.00 EUR"#]],
        );
        observed.servers[2].private[0].ip = [10, 13, 13, 99].into();
        check(
            &desired,
            &observed,
            &catalogue(),
            &expect![[
                r#"melchior: its server has the private address 10.13.13.99, machines.nix says 10.13.13.3; write ip = "10.13.13.99"; provision moves no server that exists"#
            ]],
        );
    }

    #[test]
    fn more_than_ten_voters_and_control_planes_do_not_fit_one_group() {
        let mut desired = desired();
        let first = desired.servers[0].clone();
        for number in 0..8 {
            let mut server = first.clone();
            server.node = NodeName::parse(&format!("n{number}")).unwrap();
            server.name = format!("x-n{number}");
            desired.servers.push(server);
        }
        check(
            &desired,
            &Observed::default(),
            &catalogue(),
            &expect![
                ": 11 servers would be in the placement group magi-control, which takes 10; at most 10 machines with the role etcd or control-plane"
            ],
        );
    }

    #[test]
    fn a_recorded_server_that_is_not_there_is_not_created_a_second_time() {
        let desired = desired();
        let nodes: std::collections::BTreeSet<NodeName> =
            desired.servers.iter().map(|server| server.node.clone()).take(1).collect();
        let recorded = nodes.iter().map(|node| (node.clone(), Id("4711".to_owned()))).collect();
        let wanted = Wanted { nodes, recorded };
        let problems = super::plan(&desired, &wanted, &Observed::default(), &catalogue()).unwrap_err();
        assert_eq!(problems[0].message, "its recorded server 4711 is not in this project");
        // Another token, or one without its label.
        let foreign = [(desired.servers[0].name.clone(), Id("4711".to_owned()))].into();
        let observed = Observed { foreign, ..Observed::default() };
        let problems = super::plan(&desired, &wanted, &observed, &catalogue()).unwrap_err();
        assert!(problems[0].hint.as_deref().unwrap().contains("add that in the provider's console"), "{problems:?}");
    }

    #[test]
    fn an_address_that_a_server_has_is_refused_and_a_server_without_a_machine_is_named() {
        let mut desired = desired();
        let mut observed = complete(&desired);
        observed.servers.retain(|server| server.name == "magi-casper");
        observed.taken = [(desired.servers[1].ip.unwrap(), "magi-casper".to_owned())].into();
        desired.servers[1].node = NodeName::parse("renamed").unwrap();
        desired.servers[1].name = "magi-renamed".to_owned();
        let problems = plan(&desired, &observed, &catalogue()).unwrap_err();
        assert!(problems[0].message.contains("is that of the server magi-casper"), "{problems:?}");
        observed.taken.clear();
        let plan = plan(&desired, &observed, &catalogue()).unwrap();
        assert!(plan.notes[0].contains("`machinist destroy casper`"), "{:?}", plan.notes);
    }

    #[test]
    fn a_single_target_is_judged_with_its_whole_cluster() {
        let mut desired = desired();
        desired.servers[2].location = "ash".to_owned();
        let nodes = [desired.servers[2].node.clone()].into();
        let wanted = Wanted { nodes, ..Wanted::default() };
        let problems = super::plan(&desired, &wanted, &Observed::default(), &catalogue()).unwrap_err();
        assert!(problems[0].message.contains("2 network zones"), "{problems:?}");
    }
}
