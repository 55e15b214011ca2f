//! Hetzner's resources in the words that all providers share.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv6Net;
use machinist_model::NodeName;

use super::{
    requests::{ANYWHERE, CLUSTER, FIRST_KEY, NODE},
    wire::{self, Labels, Named},
};
use crate::{
    desired::Rule,
    observed::{
        Catalogue, Found, FoundFirewall, FoundNetwork, FoundServer, Id, Offer, Price, PrivateInterface, ServerType,
    },
};

pub fn id(number: u64) -> Id {
    Id(number.to_string())
}

pub fn is_of(labels: &Labels, cluster: &str) -> bool {
    labels.get(CLUSTER).is_some_and(|name| name == cluster)
}

pub fn found(named: Named, cluster: &str) -> (String, Found) {
    let ours = is_of(&named.labels, cluster);
    (named.name.clone(), Found { id: id(named.id), name: named.name, ours })
}

/// Returns a key by its algorithm and value; none if it is of no such form.
pub fn key(key: wire::SshKey, cluster: &str) -> Option<(String, Found)> {
    let mut fields = key.public_key.split_whitespace();
    let line = format!("{} {}", fields.next()?, fields.next()?);
    Some((line, found(key.named, cluster).1))
}

pub fn network(network: wire::Network) -> FoundNetwork {
    FoundNetwork {
        id: id(network.named.id),
        name: network.named.name,
        range: network.ip_range.parse().ok(),
        subnets: network.subnets.iter().filter_map(|subnet| subnet.ip_range.parse().ok()).collect(),
        members: network.servers.len() + network.load_balancers.len(),
    }
}

pub fn firewall(firewall: wire::Firewall) -> (String, FoundFirewall) {
    let rules = firewall.rules.into_iter().map(rule).collect();
    let members = firewall.applied_to.len();
    let found = FoundFirewall { id: id(firewall.named.id), name: firewall.named.name.clone(), rules, members };
    (firewall.named.name, found)
}

fn rule(rule: wire::Rule) -> Option<Rule> {
    let sources: BTreeSet<&str> = rule.source_ips.iter().map(String::as_str).collect();
    let simple = rule.direction == "in" && sources == BTreeSet::from(ANYWHERE);
    simple.then_some(Rule { protocol: rule.protocol, port: rule.port, source: None })
}

pub fn server(server: wire::Server) -> FoundServer {
    let private = server.private_net.into_iter().filter_map(|interface| {
        let ip = interface.ip.parse().ok()?;
        Some(PrivateInterface { network: id(interface.network), ip, mac: Some(interface.mac_address) })
    });
    FoundServer {
        id: id(server.named.id),
        node: server.named.labels.get(NODE).and_then(|name| NodeName::parse(name).ok()),
        name: server.named.name,
        server_type: server.server_type.name,
        location: server.location.name,
        on: !matches!(server.status.as_str(), "off" | "initializing" | "stopping"),
        ending: server.status == "deleting",
        protected: server.protection.delete,
        first_key: server.named.labels.get(FIRST_KEY).cloned(),
        state: server.status,
        ipv4: server.public_net.ipv4.and_then(|address| address.ip.parse().ok()),
        ipv6: server.public_net.ipv6.and_then(|address| first_host(&address.ip)),
        private: private.collect(),
        firewalls: server.public_net.firewalls.iter().map(|firewall| id(firewall.id)).collect(),
        fixed: None,
    }
}

/// Returns the addresses in the network, with the names of the servers that have them.
pub fn taken<'a>(
    servers: impl Iterator<Item = &'a wire::Server>,
    network: Option<&wire::Network>,
) -> BTreeMap<Ipv4Addr, String> {
    let Some(network) = network.map(|network| network.named.id) else { return BTreeMap::new() };
    let addresses = servers.flat_map(|server| {
        let own = server.private_net.iter().filter(move |interface| interface.network == network);
        own.filter_map(|interface| Some((interface.ip.parse().ok()?, server.named.name.clone())))
    });
    addresses.collect()
}

/// Returns the first address of a server's network: its image configures that one.
fn first_host(network: &str) -> Option<IpAddr> {
    let network: Ipv6Net = network.parse().ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(u128::from(network.network()) + 1)))
}

fn system(architecture: &str) -> String {
    match architecture {
        "x86" => "x86_64-linux".to_owned(),
        "arm" => "aarch64-linux".to_owned(),
        other => other.to_owned(),
    }
}

fn price(price: &wire::PriceAt) -> Price {
    Price { hourly: price.price_hourly.net(), monthly: price.price_monthly.net() }
}

pub fn catalogue(
    types: Vec<wire::ServerType>,
    locations: Vec<wire::Location>,
    images: Vec<wire::Image>,
    pricing: wire::Pricing,
) -> Catalogue {
    let ipv4 = pricing.primary_ips.into_iter().filter(|address| address.kind == "ipv4");
    let images = images.into_iter().filter_map(|image| Some((image.name?, system(&image.architecture))));
    Catalogue {
        currency: pricing.currency,
        types: types.into_iter().map(server_type).collect(),
        locations: locations.into_iter().map(|location| (location.name, location.network_zone)).collect(),
        ipv4: ipv4
            .flat_map(|address| address.prices)
            .map(|at| (at.location.clone(), price(&at)))
            .collect::<BTreeMap<_, _>>(),
        images: images.collect(),
        room: None,
    }
}

fn server_type(kind: wire::ServerType) -> ServerType {
    let offers = kind.prices.iter().map(|at| {
        let location = kind.locations.iter().find(|location| location.name == at.location);
        Offer {
            location: at.location.clone(),
            price: price(at),
            // A type has a price where it is not sold, too.
            available: location.is_some_and(|location| location.available.unwrap_or(true)),
            until: location
                .and_then(|location| location.deprecation.as_ref())
                .map(|deprecation| deprecation.unavailable_after.clone()),
        }
    });
    ServerType {
        offers: offers.collect(),
        name: kind.name,
        system: system(&kind.architecture),
        cores: kind.cores as u64,
        memory: kind.memory,
        disk: kind.disk as u64,
    }
}
