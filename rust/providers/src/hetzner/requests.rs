//! Bodies of requests to Hetzner Cloud, in the types of the crate `hcloud`: a misspelt field does not compile.

use std::collections::HashMap;

use hcloud::models::{
    ApplyToResourcesRequest, AttachServerToNetworkRequest, CreateFirewallRequest, CreateNetworkRequest,
    CreatePlacementgroupRequest, CreateServerRequest, CreateServerRequestFirewalls, CreateServerRequestPublicNet,
    CreateSshKeyRequest, FirewallResource, ResourceId, Rule, SetRulesRequest, Subnet, create_placementgroup_request,
    firewall_resource, rule, subnet,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    cloud::Boot,
    desired::{self, Desired, Firewall, Key, Network, Server},
    observed::{Id, Observed},
};

/// Label of everything that belongs to a cluster.
pub const CLUSTER: &str = "machinist/cluster";
/// Label of a server: its node.
pub const NODE: &str = "machinist/node";
/// Label of a server: the digest of the host key that it was created with.
pub const FIRST_KEY: &str = "machinist/first-key";
/// Any address, of both families.
pub const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

fn json(body: impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

fn labels(cluster: &str) -> Option<HashMap<String, String>> {
    Some([(CLUSTER.to_owned(), cluster.to_owned())].into())
}

/// Hetzner's identifiers are numbers.
pub fn number(id: &Id) -> i64 {
    id.0.parse().unwrap_or_default()
}

pub fn ssh_key(key: &Key, cluster: &str) -> Value {
    json(CreateSshKeyRequest { labels: labels(cluster), name: key.name.clone(), public_key: key.line.clone() })
}

pub fn network(network: &Network, cluster: &str, zone: &str) -> Value {
    json(CreateNetworkRequest {
        labels: labels(cluster),
        subnets: Some(vec![subnet_of(network, zone)]),
        ..CreateNetworkRequest::new(network.range.to_string(), network.name.clone())
    })
}

pub fn subnet(network: &Network, zone: &str) -> Value {
    json(subnet_of(network, zone))
}

fn subnet_of(network: &Network, zone: &str) -> Subnet {
    let range = Some(network.range.to_string());
    Subnet { ip_range: range, ..Subnet::new(zone.to_owned(), subnet::Type::Cloud) }
}

pub fn placement_group(name: &str, cluster: &str) -> Value {
    let kind = create_placementgroup_request::Type::Spread;
    json(CreatePlacementgroupRequest { labels: labels(cluster), name: name.to_owned(), r#type: kind })
}

pub fn firewall(firewall: &Firewall, cluster: &str) -> Value {
    json(CreateFirewallRequest {
        labels: labels(cluster),
        rules: Some(rules(firewall)),
        ..CreateFirewallRequest::new(firewall.name.clone())
    })
}

pub fn set_rules(firewall: &Firewall) -> Value {
    json(SetRulesRequest { rules: rules(firewall) })
}

fn rules(firewall: &Firewall) -> Vec<Rule> {
    firewall.rules.iter().filter_map(rule_of).collect()
}

fn rule_of(wanted: &desired::Rule) -> Option<Rule> {
    let protocol = match wanted.protocol.as_str() {
        "tcp" => rule::Protocol::Tcp,
        "udp" => rule::Protocol::Udp,
        "icmp" => rule::Protocol::Icmp,
        _ => return None,
    };
    Some(Rule {
        port: wanted.port.clone().map(Some),
        source_ips: Some(ANYWHERE.map(str::to_owned).to_vec()),
        ..Rule::new(rule::Direction::In, protocol)
    })
}

/// Returns the request for a server; the name of what is missing if something that it needs does not exist: without a
/// firewall it would be open, without keys the provider would send a password by mail.
pub fn server(server: &Server, boot: &Boot, desired: &Desired, observed: &Observed) -> Result<Value, String> {
    let group = match &server.group {
        Some(name) => Some(observed.groups.get(name).ok_or_else(|| format!("placement group {name}"))?),
        None => None,
    };
    let firewall = observed.firewalls.get(&server.firewall);
    let firewall = firewall.ok_or_else(|| format!("firewall {}", server.firewall))?;
    let mut keys = Vec::new();
    for key in &desired.keys {
        keys.push(observed.keys.get(&key.line).ok_or_else(|| format!("ssh key {}", key.name))?.id.0.clone());
    }
    let mut labels = labels(&desired.cluster);
    if let Some(labels) = &mut labels {
        labels.insert(NODE.to_owned(), server.node.to_string());
        labels.insert(FIRST_KEY.to_owned(), boot.first_key.clone());
    }
    Ok(json(CreateServerRequest {
        firewalls: Some(vec![CreateServerRequestFirewalls { firewall: number(&firewall.id) }]),
        labels,
        location: Some(server.location.clone()),
        placement_group: group.map(|found| number(&found.id)),
        public_net: Some(Box::new(CreateServerRequestPublicNet {
            enable_ipv4: Some(server.ipv4),
            enable_ipv6: Some(server.ipv6),
            ..CreateServerRequestPublicNet::default()
        })),
        // Without keys, the provider makes a password and sends it by mail.
        ssh_keys: Some(keys),
        // A fixed private address cannot be requested here: the server is attached before its first boot.
        start_after_create: Some(false),
        user_data: Some(boot.user_data.clone()),
        ..CreateServerRequest::new(server.image.clone(), server.name.clone(), server.server_type.clone())
    }))
}

pub fn attach(network: &Id, server: &Server) -> Value {
    let request = AttachServerToNetworkRequest::new(number(network));
    json(AttachServerToNetworkRequest { ip: server.ip.map(|ip| ip.to_string()), ..request })
}

pub fn protect(server: &Id) -> Value {
    let resource = FirewallResource {
        server: Some(Box::new(ResourceId { id: number(server) })),
        ..FirewallResource::new(firewall_resource::Type::Server)
    };
    json(ApplyToResourcesRequest { apply_to: vec![resource] })
}
