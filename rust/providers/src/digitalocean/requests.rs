//! Bodies of requests to DigitalOcean. Contract tests compare them with the API's document.

use serde_json::{Value, json};

use super::{mark, wire};
use crate::{
    cloud::Boot,
    desired::{self, Desired, Firewall, Key, Network, Server},
    observed::{Id, Observed},
};

/// Any address, of both families.
pub const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// Protocols of a firewall.
pub const PROTOCOLS: [&str; 3] = ["icmp", "tcp", "udp"];
/// Every port; that of ICMP, too.
const ALL: &str = "0";

/// Numbers of droplets and keys.
pub fn number(id: &Id) -> u64 {
    id.0.parse().unwrap_or_default()
}

pub fn key(key: &Key) -> Value {
    json!({ "name": key.name, "public_key": key.line })
}

pub fn vpc(network: &Network, cluster: &str, region: &str) -> Value {
    json!({
        "name": network.name,
        "region": region,
        "ip_range": network.range.to_string(),
        "description": mark::mark(cluster),
    })
}

pub fn tag(name: &str) -> Value {
    json!({ "name": name })
}

/// Returns the whole firewall: a field that is missing in an update is emptied, so what others added stays in it.
pub fn firewall(firewall: &Firewall, cluster: &str, found: Option<&wire::Firewall>) -> Value {
    let tag = mark::firewall(cluster, &firewall.name);
    let mut tags: Vec<String> = found.and_then(|found| found.tags.clone()).unwrap_or_default();
    if !mark::has(&tags, &tag) {
        tags.push(tag);
    }
    let droplets: Vec<u64> = found.and_then(|found| found.droplet_ids.clone()).unwrap_or_default();
    let inbound: Vec<Value> = firewall.rules.iter().map(inbound).collect();
    let outbound = PROTOCOLS
        .map(|protocol| json!({ "protocol": protocol, "ports": ALL, "destinations": { "addresses": ANYWHERE } }));
    json!({
        "name": firewall.name,
        "inbound_rules": inbound,
        "outbound_rules": outbound,
        "droplet_ids": droplets,
        "tags": tags,
    })
}

fn inbound(rule: &desired::Rule) -> Value {
    let sources: Vec<String> = match rule.source {
        Some(range) => vec![range.to_string()],
        None => ANYWHERE.map(str::to_owned).to_vec(),
    };
    let ports = rule.port.as_deref().unwrap_or(ALL);
    json!({ "protocol": rule.protocol, "ports": ports, "sources": { "addresses": sources } })
}

pub fn tagged(droplet: &Id) -> Value {
    json!({ "resources": [{ "resource_id": droplet.0, "resource_type": "droplet" }] })
}

/// Returns the request for a droplet; the name of what is missing if something that it needs does not exist: without a
/// firewall it would be open, without keys the provider would send a password by mail.
pub fn droplet(server: &Server, boot: &Boot, desired: &Desired, observed: &Observed) -> Result<Value, String> {
    let cluster = &desired.cluster;
    if !observed.firewalls.contains_key(&server.firewall) {
        return Err(format!("firewall {}", server.firewall));
    }
    let network = observed.network.as_ref().ok_or_else(|| format!("network {}", desired.network.name))?;
    let mut keys = Vec::new();
    for key in &desired.keys {
        keys.push(number(&observed.keys.get(&key.line).ok_or_else(|| format!("ssh key {}", key.name))?.id));
    }
    let tags = [
        mark::mark(cluster),
        mark::node(cluster, server.node.as_str()),
        mark::firewall(cluster, &server.firewall),
        mark::first_key(cluster, &boot.first_key),
    ];
    Ok(json!({
        "name": server.name,
        "size": server.server_type,
        "region": server.location,
        "image": server.image,
        "ssh_keys": keys,
        "vpc_uuid": network.id.0,
        "tags": tags,
        "user_data": boot.user_data,
        "ipv6": server.ipv6,
        // The image ends with the installation, and nobody else gets in before.
        "with_droplet_agent": false,
    }))
}
