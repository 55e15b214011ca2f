//! DigitalOcean's resources in the words that all providers share.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use machinist_model::{FixedAddress, FixedNetwork, NodeName};
use serde_json::Value;

use super::{
    mark,
    requests::{ANYWHERE, PROTOCOLS},
    wire,
};
use crate::{
    desired::Rule,
    observed::{
        Catalogue, Found, FoundFirewall, FoundNetwork, FoundServer, Id, Leftover, Offer, Price, PrivateInterface, Room,
        ServerType,
    },
};

/// Architecture of every size: the API names none.
const SYSTEM: &str = "x86_64-linux";

pub fn id(number: u64) -> Id {
    Id(number.to_string())
}

/// Returns a key by its algorithm and value; none if it is of no such form.
pub fn key(key: &wire::SshKey, cluster: &str) -> Option<(String, Found)> {
    let mut fields = key.public_key.split_whitespace();
    let line = format!("{} {}", fields.next()?, fields.next()?);
    let ours = key.name.starts_with(&format!("{}:", mark::mark(cluster)));
    Some((line, Found { id: id(key.id), name: key.name.clone(), ours }))
}

pub fn network(vpc: &wire::Vpc, members: usize) -> FoundNetwork {
    let range: Option<Ipv4Net> = vpc.ip_range.parse().ok();
    // A VPC has one range.
    let subnets = range.into_iter().collect();
    FoundNetwork { id: Id(vpc.id.clone()), name: vpc.name.clone(), range, subnets, members }
}

/// Returns true if the firewall is the cluster's: it covers the tag of its name.
pub fn is_ours(firewall: &wire::Firewall, cluster: &str) -> bool {
    mark::has(tags(firewall), &mark::firewall(cluster, &firewall.name))
}

fn tags(firewall: &wire::Firewall) -> &[String] {
    firewall.tags.as_deref().unwrap_or_default()
}

pub fn firewall(firewall: &wire::Firewall, cluster: &str) -> FoundFirewall {
    let foreign = tags(firewall).iter().filter(|tag| !mark::is_of(tag, cluster)).count();
    let inbound = firewall.inbound_rules.iter().flatten().map(inbound).collect();
    FoundFirewall {
        id: Id(firewall.id.clone()),
        name: firewall.name.clone(),
        // What goes out has to be listed, or nothing does.
        rules: if is_open_outwards(firewall) { inbound } else { None },
        members: firewall.droplet_ids.iter().flatten().count() + foreign,
    }
}

/// Returns true if the firewall covers the droplet.
pub fn covers(firewall: &wire::Firewall, droplet: &wire::Droplet) -> bool {
    let numbers = firewall.droplet_ids.as_deref().unwrap_or_default();
    numbers.contains(&droplet.id) || tags(firewall).iter().any(|tag| mark::has(&droplet.tags, tag))
}

fn port(rule: &wire::Rule) -> Option<String> {
    let all = |port: &&String| matches!(port.as_str(), "" | "0" | "all") || rule.protocol == "icmp";
    rule.ports.as_ref().filter(|port| !all(port)).cloned()
}

/// Returns the only addresses of the peers; none if there are others than addresses.
fn addresses(peers: Option<&wire::Peers>) -> Option<BTreeSet<&str>> {
    let peers = peers?;
    let is_empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
    let plain = peers.others.values().all(is_empty);
    plain.then(|| peers.addresses.iter().flatten().map(String::as_str).collect())
}

fn inbound(rule: &wire::Rule) -> Option<Rule> {
    let found = addresses(rule.sources.as_ref())?;
    let source = match found.iter().collect::<Vec<_>>().as_slice() {
        _ if found == BTreeSet::from(ANYWHERE) => None,
        [only] => Some(only.parse::<Ipv4Net>().ok()?),
        _ => return None,
    };
    Some(Rule { protocol: rule.protocol.clone(), port: port(rule), source })
}

fn is_open_outwards(firewall: &wire::Firewall) -> bool {
    let rules: Vec<&wire::Rule> = firewall.outbound_rules.iter().flatten().collect();
    PROTOCOLS.iter().all(|protocol| {
        rules.iter().any(|rule| {
            let everywhere = addresses(rule.destinations.as_ref()) == Some(BTreeSet::from(ANYWHERE));
            rule.protocol == *protocol && port(rule).is_none() && everywhere
        })
    })
}

pub fn server(droplet: &wire::Droplet, cluster: &str, firewalls: &[wire::Firewall]) -> FoundServer {
    let network = fixed(droplet);
    let private = network.private.as_ref().and_then(|private| match private.address {
        IpAddr::V4(ip) => Some(PrivateInterface { network: Id(droplet.vpc_uuid.clone()?), ip, mac: None }),
        IpAddr::V6(_) => None,
    });
    FoundServer {
        id: id(droplet.id),
        name: droplet.name.clone(),
        node: mark::value(&droplet.tags, &mark::node(cluster, "")).and_then(|name| NodeName::parse(name).ok()),
        server_type: droplet.size_slug.clone(),
        location: droplet.region.slug.clone(),
        on: droplet.status != "off",
        ending: false,
        protected: false,
        first_key: mark::value(&droplet.tags, &mark::first_key(cluster, "")).map(str::to_owned),
        state: droplet.status.clone(),
        ipv4: network.public.as_ref().map(|public| public.address),
        ipv6: network.public6.as_ref().map(|public| public.address),
        private: private.into_iter().collect(),
        firewalls: firewalls
            .iter()
            .filter(|firewall| covers(firewall, droplet))
            .map(|firewall| Id(firewall.id.clone()))
            .collect(),
        fixed: Some(network),
    }
}

/// Returns true if the provider has told the droplet's addresses, which are missing right after it was created.
pub fn has_addresses(droplet: &wire::Droplet) -> bool {
    let network = fixed(droplet);
    network.public.is_some() && network.private.is_some()
}

fn fixed(droplet: &wire::Droplet) -> FixedNetwork {
    let find = |interfaces: &[wire::Interface], kind: &str, is_routed: bool| {
        let interface = interfaces.iter().find(|interface| interface.kind == kind)?;
        let gateway = interface.gateway.as_deref().filter(|_| is_routed).and_then(|text| text.parse().ok());
        let address = interface.ip_address.parse().ok()?;
        Some(FixedAddress { address, prefix_length: prefix(&interface.netmask)?, gateway })
    };
    let networks = &droplet.networks;
    FixedNetwork {
        public: find(&networks.v4, "public", true),
        public6: find(&networks.v6, "public", true),
        // The gateway of a VPC leads nowhere else.
        private: find(&networks.v4, "private", false),
        public_mac: None,
        private_mac: None,
    }
}

/// Returns the length of a prefix, from a number of bits or a dotted mask.
fn prefix(netmask: &Value) -> Option<u8> {
    match netmask {
        Value::Number(bits) => bits.as_u64().and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits <= 128),
        Value::String(mask) => {
            let mask = u32::from(mask.parse::<Ipv4Addr>().ok()?);
            let ones = mask.leading_ones();
            (mask.count_ones() == ones).then(|| u8::try_from(ones).ok())?
        }
        _ => None,
    }
}

pub fn leftovers(
    droplets: &[wire::Droplet],
    volumes: &[wire::Volume],
    addresses: &[wire::ReservedIp],
) -> Vec<Leftover> {
    let ours: BTreeSet<u64> = droplets.iter().map(|droplet| droplet.id).collect();
    let volumes = volumes.iter().filter_map(|volume| {
        let droplet = volume.droplet_ids.iter().find(|droplet| ours.contains(droplet))?;
        Some(Leftover { kind: "volume".to_owned(), name: volume.name.clone(), server: Some(id(*droplet)) })
    });
    let addresses = addresses.iter().filter_map(|address| {
        let droplet = address.droplet.as_ref().filter(|droplet| ours.contains(&droplet.id))?;
        Some(Leftover { kind: "reserved IP".to_owned(), name: address.ip.clone(), server: Some(id(droplet.id)) })
    });
    volumes.chain(addresses).collect()
}

pub fn catalogue(
    sizes: Vec<wire::Size>,
    regions: &[wire::Region],
    images: &[wire::Image],
    account: &wire::Account,
    used: u64,
) -> Catalogue {
    let open: BTreeSet<&str> =
        regions.iter().filter(|region| region.available).map(|region| region.slug.as_str()).collect();
    let slugs = images.iter().filter_map(|image| Some((image.slug.clone()?, SYSTEM.to_owned())));
    Catalogue {
        currency: "USD".to_owned(),
        types: sizes.into_iter().map(server_type).collect(),
        // A VPC is in one region.
        locations: open.iter().map(|slug| ((*slug).to_owned(), (*slug).to_owned())).collect(),
        // The price of a droplet includes its address.
        ipv4: BTreeMap::new(),
        images: slugs.collect(),
        room: account.droplet_limit.map(|limit| Room { limit, used }),
    }
}

fn server_type(size: wire::Size) -> ServerType {
    let price = Price { hourly: size.price_hourly, monthly: size.price_monthly };
    let available = size.available;
    let offers = size.regions.into_iter().map(|location| Offer { location, price, available, until: None });
    ServerType {
        name: size.slug,
        system: SYSTEM.to_owned(),
        cores: size.vcpus as u64,
        memory: size.memory / 1024.0,
        disk: size.disk as u64,
        offers: offers.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::prefix;

    #[test]
    fn a_netmask_is_dotted_or_a_number() {
        assert_eq!(prefix(&json!("255.255.240.0")), Some(20));
        assert_eq!(prefix(&json!("255.0.255.0")), None);
        assert_eq!(prefix(&json!("0.0.0.0")), Some(0));
        assert_eq!((prefix(&json!(64)), prefix(&json!(400)), prefix(&json!(null))), (Some(64), None, None));
    }
}
