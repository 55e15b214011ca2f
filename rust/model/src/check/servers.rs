//! Servers that `machinist provision` creates: values that the provider accepts, and a network that it can have.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{Context, addresses::each, machine_path};
use crate::{
    Provider,
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::{DigitaloceanShape, HetznerShape, MachineShape, OneOrTwo},
};

/// Longest name of a server, in characters: it is a host name (RFC 1123).
const LONGEST_NAME: usize = 63;

/// Private networks of providers are inside these ranges (RFC 1918).
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// Private networks of a provider.
struct Networks {
    /// Their name for people.
    name: &'static str,
    /// Shortest and longest prefix.
    prefixes: std::ops::RangeInclusive<u8>,
    /// The prefixes for people.
    words: &'static str,
}

/// Hetzner's "Networks".
const HETZNER: Networks =
    Networks { name: "private networks of Hetzner Cloud", prefixes: 0..=24, words: "/24 or wider" };
/// DigitalOcean's `POST /v2/vpcs`.
const DIGITALOCEAN: Networks = Networks { name: "VPCs of DigitalOcean", prefixes: 16..=28, words: "/16 to /28" };

/// Checks each server of a cloud, and the network that those of one provider share.
pub fn check(context: &Context<'_>, report: &mut Report) {
    hetzner(context, report);
    digitalocean(context, report);
}

fn digitalocean(context: &Context<'_>, report: &mut Report) {
    let mut first = None;
    for (name, machine) in &context.shape.machines {
        let Some(server) = &machine.digitalocean else { continue };
        let path = machine_path(name).join("digitalocean");
        if machine.provider != Provider::Digitalocean {
            without_effect(path, "digitalocean", "DigitalOcean", report);
            continue;
        }
        let DigitaloceanShape { size, region, image, .. } = server;
        values(&path, [("size", size), ("region", region), ("image", image)], "DigitalOcean", report);
        long_name(context, name, report);
        given_address(context, name, machine, report);
        first.get_or_insert(name);
    }
    if let Some(name) = first {
        network(context, name, &DIGITALOCEAN, report);
    }
}

fn without_effect(path: AttrPath, attribute: &str, provider: &str, report: &mut Report) {
    let why = format!("only a machine with provider = \"{attribute}\" is created at {provider}");
    let message = format!("`{path}` has no effect");
    let finding = Finding::new(Code::WithoutEffect, path, message, why);
    report.push(finding.help(format!("write provider = \"{attribute}\", or leave `{attribute}` out")));
}

/// The provider chooses the address, so one that differs from the recorded one is never the server's.
fn given_address(context: &Context<'_>, name: &str, machine: &MachineShape, report: &mut Report) {
    let Some(given) = context.directory.addresses.get(name) else { return };
    let Some(written) = machine.ip.as_ref().filter(|ip| !ip.0.contains(given)) else { return };
    let first = written.0.first().map(ToString::to_string).unwrap_or_default();
    let message = format!("{first} is not the server's address, which is {given}");
    let why = "DigitalOcean chooses the private addresses of droplets";
    let finding = Finding::new(Code::BadServer, machine_path(name).join("ip"), message, why);
    report.push(finding.help(format!("write ip = \"{given}\", or leave it out")));
}

fn hetzner(context: &Context<'_>, report: &mut Report) {
    let mut first = None;
    for (name, machine) in &context.shape.machines {
        let Some(server) = &machine.hetzner else { continue };
        let path = machine_path(name).join("hetzner");
        if machine.provider != Provider::Hetzner {
            without_effect(path, "hetzner", "Hetzner", report);
            continue;
        }
        let HetznerShape { server_type, location, image, .. } = server;
        let named = [("serverType", server_type), ("location", location), ("image", image)];
        values(&path, named, "Hetzner", report);
        long_name(context, name, report);
        reachable(&path, server, report);
        first_address(context, name, machine, report);
        first.get_or_insert(name);
    }
    if let Some(name) = first {
        network(context, name, &HETZNER, report);
    }
}

fn values(path: &AttrPath, values: [(&str, &Option<String>); 3], provider: &str, report: &mut Report) {
    for (attribute, value) in values {
        let Some(value) = value.as_deref().filter(|value| !is_name(value)) else { continue };
        let why = format!("{provider} uses letters, digits, dashes and dots");
        let finding = Finding::new(Code::BadServer, path.join(attribute), format!("{value:?} is not a name"), why);
        report.push(finding.help(match provider {
            "Hetzner" => "write a name such as \"cx23\", \"nbg1\" or \"debian-13\"",
            _ => "write a slug such as \"s-2vcpu-4gb\", \"fra1\" or \"debian-13-x64\"",
        }));
    }
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(plain)
}

/// The name of a server is that of its cluster and node, because it is unique in a project.
fn long_name(context: &Context<'_>, name: &str, report: &mut Report) {
    let cluster = context.shape.cluster.name.as_deref().unwrap_or_default();
    let length = cluster.len() + 1 + name.len();
    if length > LONGEST_NAME {
        let message = format!("the server's name {cluster}-{name} has {length} characters");
        let why = "a server's name is a host name, of at most 63 characters";
        let finding = Finding::new(Code::BadServer, machine_path(name), message, why);
        report.push(finding.help("shorten the name of the machine or of the cluster"));
    }
}

fn reachable(path: &AttrPath, server: &HetznerShape, report: &mut Report) {
    if server.ipv4 || server.ipv6 {
        return;
    }
    let message = "the server has no public address";
    let why = "neither the operator nor `machinist install` can reach it";
    let finding = Finding::new(Code::BadServer, path.join("ipv4"), message, why);
    report.push(finding.help("leave out one of ipv4 = false and ipv6 = false"));
}

/// The provider's own gateway has the first address of a network.
fn first_address(context: &Context<'_>, name: &str, machine: &MachineShape, report: &mut Report) {
    let Some(IpNet::V4(nodes)) = v4(context).map(|(_, network)| network) else { return };
    let taken = nodes.trunc().hosts().next().map(IpAddr::V4);
    let own = machine.ip.as_ref().and_then(|ip| ip.0.iter().find(|ip| Some(**ip) == taken));
    if let Some(ip) = own {
        let message = format!("{ip} is the address of Hetzner's gateway");
        let why = "the first address of a private network is never a server's";
        let finding = Finding::new(Code::BadServer, machine_path(name).join("ip"), message, why);
        report.push(finding.help(format!("use another address of {}", nodes.trunc())));
    }
}

fn network(context: &Context<'_>, name: &str, networks: &Networks, report: &mut Report) {
    let lists = context.shape.network.nodes.as_ref();
    if let Some((path, six)) = each(&AttrPath::of("network.nodes"), lists).find(|(_, network)| network.addr().is_ipv6())
    {
        let why = format!("{} are IPv4 only", networks.name);
        let message = format!("{six} cannot be the network of {name}");
        report.push(Finding::new(Code::BadServer, path, message, why).help("write one IPv4 network"));
    }
    let Some((path, IpNet::V4(nodes))) = v4(context) else { return };
    let private = PRIVATE.iter().filter_map(|text| text.parse::<Ipv4Net>().ok()).any(|range| range.contains(&nodes));
    if private && networks.prefixes.contains(&nodes.prefix_len()) {
        return;
    }
    let message = format!("{nodes} cannot be the network of {name}");
    let why = format!("{} are RFC 1918 ranges of {}", networks.name, networks.words);
    report.push(Finding::new(Code::BadServer, path, message, why).help("write a network such as \"10.13.13.0/24\""));
}

fn v4(context: &Context<'_>) -> Option<(AttrPath, IpNet)> {
    let lists: Option<&OneOrTwo<IpNet>> = context.shape.network.nodes.as_ref();
    let found = each(&AttrPath::of("network.nodes"), lists).find(|(_, network)| network.addr().is_ipv4());
    found.map(|(path, network)| (path, *network))
}
