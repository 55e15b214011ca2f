//! What a cluster needs at a provider. A pure function of the cluster.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use machinist_model::{Cluster, DigitaloceanServer, HetznerServer, Node, NodeName, Orchestrator, Provider, Role};
use serde::Serialize;

/// Needs of a cluster at one provider, in the order in which they are created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The cluster's name.
    pub cluster: String,
    /// Who chooses the servers' private addresses.
    pub addressing: Addressing,
    /// The operators' SSH keys.
    pub keys: Vec<Key>,
    /// The private network.
    pub network: Network,
    /// Groups of servers that the provider keeps on different hosts.
    pub groups: Vec<String>,
    /// Firewalls of the servers: at Hetzner of their public interfaces, at DigitalOcean of all.
    pub firewalls: Vec<Firewall>,
    /// The servers, sorted by node.
    pub servers: Vec<Server>,
}

/// Choice of private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// machines.nix does: a server is created switched off, attached at its address, then switched on.
    Declared,
    /// The provider does, when it creates the server, which then runs.
    Given,
}

/// An operator's SSH key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name at the provider.
    pub name: String,
    /// The operator's name.
    pub operator: String,
    /// `ALGORITHM BASE64`, without comment.
    pub line: String,
}

/// The private network between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name at the provider.
    pub name: String,
    /// Its range, and that of its only subnet.
    pub range: Ipv4Net,
}

/// Firewall of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Its name at the provider.
    pub name: String,
    /// What it lets in, sorted. Everything may go out.
    pub rules: BTreeSet<Rule>,
}

/// Permission for packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Protocol: `tcp`, `udp` or `icmp`.
    pub protocol: String,
    /// Port, if the protocol has ports.
    pub port: Option<String>,
    /// Network that the packets come from. None: any address.
    pub source: Option<Ipv4Net>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The node that it will be.
    pub node: NodeName,
    /// Its name at the provider: that of the cluster and the node, because it is unique in a project.
    pub name: String,
    /// Its type, as the provider calls it.
    pub server_type: String,
    /// Its location, as the provider calls it.
    pub location: String,
    /// The image that it is created from.
    pub image: String,
    /// Its architecture in the words of Nix, such as `x86_64-linux`.
    pub system: String,
    /// Its address in the private network; none while the provider has not given it one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// True if machines.nix says the address, although the provider chooses it.
    #[serde(skip)]
    pub is_declared: bool,
    /// True if it has a public IPv4 address.
    pub ipv4: bool,
    /// True if it has a public IPv6 network.
    pub ipv6: bool,
    /// Its group, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its firewall, by name.
    pub firewall: String,
}

/// Returns what the cluster needs at a provider; `None` if no machine is created there.
#[must_use]
pub fn at(cluster: &Cluster, provider: Provider) -> Option<Desired> {
    match provider {
        Provider::Hetzner => at_hetzner(cluster),
        Provider::Digitalocean => at_digitalocean(cluster),
        Provider::Sandbox | Provider::SelfHosted => None,
    }
}

/// Returns what the cluster needs at Hetzner; `None` if no machine is created there.
#[must_use]
pub fn at_hetzner(cluster: &Cluster) -> Option<Desired> {
    let servers = cluster.deployable().filter_map(|node| server(cluster, node, node.hetzner.as_ref()?));
    desired(cluster, Addressing::Declared, servers.collect())
}

/// Returns what the cluster needs at DigitalOcean; `None` if no machine is created there.
#[must_use]
pub fn at_digitalocean(cluster: &Cluster) -> Option<Desired> {
    let servers = cluster.deployable().filter_map(|node| Some(droplet(cluster, node, node.digitalocean.as_ref()?)));
    let mut desired = desired(cluster, Addressing::Given, servers.collect())?;
    // A key has no labels there, so its name tells whose it is.
    for key in &mut desired.keys {
        key.name = format!("{}:{}", crate::digitalocean::mark(&cluster.name), key.operator);
    }
    // The firewall filters the VPC's interface as well.
    let inside = ["icmp", "tcp", "udp"].map(|protocol| Rule {
        protocol: protocol.to_owned(),
        port: None,
        source: Some(desired.network.range),
    });
    for firewall in &mut desired.firewalls {
        firewall.rules.extend(inside.iter().cloned());
    }
    Some(desired)
}

fn desired(cluster: &Cluster, addressing: Addressing, servers: Vec<Server>) -> Option<Desired> {
    let IpNet::V4(range) = cluster.network.nodes else { return None };
    if servers.is_empty() {
        return None;
    }
    let name = &cluster.name;
    let groups: BTreeSet<String> = servers.iter().filter_map(|server| server.group.clone()).collect();
    let used: BTreeSet<&str> = servers.iter().map(|server| server.firewall.as_str()).collect();
    let ports = servers.iter().filter_map(|server| Some(cluster.nodes.get(&server.node)?.ssh.listening_port()));
    let firewalls = firewalls(name, ports.collect());
    Some(Desired {
        cluster: name.clone(),
        addressing,
        keys: keys(cluster),
        network: Network { name: name.clone(), range },
        groups: groups.into_iter().collect(),
        firewalls: firewalls.into_iter().filter(|firewall| used.contains(firewall.name.as_str())).collect(),
        servers,
    })
}

fn server(cluster: &Cluster, node: &Node, server: &HetznerServer) -> Option<Server> {
    let std::net::IpAddr::V4(ip) = node.ip else { return None };
    let name = &cluster.name;
    Some(Server {
        node: node.name.clone(),
        name: format!("{name}-{}", node.name),
        server_type: server.server_type.clone(),
        location: server.location.clone(),
        image: server.image.clone(),
        system: node.system.clone(),
        ip: Some(ip),
        is_declared: false,
        ipv4: server.ipv4,
        ipv6: server.ipv6,
        // One broken host must not take two voters away.
        group: is_critical(node).then(|| format!("{name}-control")),
        firewall: firewall_of(cluster, node),
    })
}

/// A droplet has a public address for ever or never, and machinist needs one. There are no placement groups.
fn droplet(cluster: &Cluster, node: &Node, droplet: &DigitaloceanServer) -> Server {
    let ip = droplet.address.and_then(|address| match address {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    });
    Server {
        node: node.name.clone(),
        name: format!("{}-{}", cluster.name, node.name),
        server_type: droplet.size.clone(),
        location: droplet.region.clone(),
        image: droplet.image.clone(),
        system: node.system.clone(),
        ip,
        is_declared: droplet.is_declared,
        ipv4: true,
        ipv6: droplet.ipv6,
        group: None,
        firewall: firewall_of(cluster, node),
    }
}

fn firewall_of(cluster: &Cluster, node: &Node) -> String {
    let kind = if takes_traffic(cluster, node) { "ingress" } else { "nodes" };
    format!("{}-{kind}", cluster.name)
}

fn is_critical(node: &Node) -> bool {
    node.roles.contains(&Role::Etcd) || node.roles.contains(&Role::ControlPlane)
}

/// Returns true if clients outside of the cluster reach web ports of the node.
fn takes_traffic(cluster: &Cluster, node: &Node) -> bool {
    let pods = matches!(cluster.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s));
    node.roles.contains(&Role::Ingress) || (pods && node.roles.contains(&Role::Worker) && !has_ingress(cluster))
}

fn has_ingress(cluster: &Cluster) -> bool {
    cluster.with_role(Role::Ingress).next().is_some()
}

fn firewalls(cluster: &str, ports: BTreeSet<u16>) -> Vec<Firewall> {
    let tcp = |port: u16| Rule { protocol: "tcp".to_owned(), port: Some(port.to_string()), source: None };
    let icmp = Rule { protocol: "icmp".to_owned(), port: None, source: None };
    // Port 22 also while another one is wanted: a new server listens there until it is installed.
    let base: BTreeSet<Rule> = ports.into_iter().chain([22]).map(tcp).chain([icmp]).collect();
    let web: BTreeSet<Rule> = base.iter().cloned().chain([tcp(80), tcp(443)]).collect();
    vec![
        Firewall { name: format!("{cluster}-ingress"), rules: web },
        Firewall { name: format!("{cluster}-nodes"), rules: base },
    ]
}

fn keys(cluster: &Cluster) -> Vec<Key> {
    let mut seen = BTreeSet::new();
    let keys = cluster.operators.iter().filter_map(|operator| {
        let mut fields = operator.ssh.as_deref()?.split_whitespace();
        let line = format!("{} {}", fields.next()?, fields.next()?);
        let name = format!("{}-{}", cluster.name, operator.name);
        seen.insert(line.clone()).then(|| Key { name, operator: operator.name.clone(), line })
    });
    keys.collect()
}
