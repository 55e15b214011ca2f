//! Servers that `machinist provision` creates: values that the provider accepts, and a network that it can have.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{Context, addresses::each, machine_path};
use crate::{
    Provider,
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::{HetznerShape, MachineShape, OneOrTwo},
};

/// Longest name of a server, in characters: it is a host name (RFC 1123).
const LONGEST_NAME: usize = 63;

/// Private networks of Hetzner Cloud are inside these ranges (RFC 1918), and /24 or wider.
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
const NARROWEST: u8 = 24;

/// Checks each server of Hetzner Cloud, and the network that they share.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let mut first = None;
    for (name, machine) in &context.shape.machines {
        let Some(server) = &machine.hetzner else { continue };
        let path = machine_path(name).join("hetzner");
        if machine.provider != Provider::Hetzner {
            let why = "only a machine with provider = \"hetzner\" is created at Hetzner";
            let message = format!("`{path}` has no effect");
            let finding = Finding::new(Code::WithoutEffect, path, message, why);
            report.push(finding.help("write provider = \"hetzner\", or leave `hetzner` out"));
            continue;
        }
        values(&path, server, report);
        long_name(context, name, report);
        reachable(&path, server, report);
        first_address(context, name, machine, report);
        first.get_or_insert(name);
    }
    if let Some(name) = first {
        network(context, name, report);
    }
}

fn values(path: &AttrPath, server: &HetznerShape, report: &mut Report) {
    let values = [("serverType", &server.server_type), ("location", &server.location), ("image", &server.image)];
    for (attribute, value) in values {
        let Some(value) = value.as_deref().filter(|value| !is_name(value)) else { continue };
        let why = "Hetzner uses letters, digits, dashes and dots";
        let finding = Finding::new(Code::BadServer, path.join(attribute), format!("{value:?} is not a name"), why);
        report.push(finding.help("write a name such as \"cx23\", \"nbg1\" or \"debian-13\""));
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

fn network(context: &Context<'_>, name: &str, report: &mut Report) {
    let lists = context.shape.network.nodes.as_ref();
    if let Some((path, six)) = each(&AttrPath::of("network.nodes"), lists).find(|(_, network)| network.addr().is_ipv6())
    {
        let why = "private networks of Hetzner Cloud are IPv4 only";
        let message = format!("{six} cannot be the network of {name}");
        report.push(Finding::new(Code::BadServer, path, message, why).help("write one IPv4 network"));
    }
    let Some((path, IpNet::V4(nodes))) = v4(context) else { return };
    let private = PRIVATE.iter().filter_map(|text| text.parse::<Ipv4Net>().ok()).any(|range| range.contains(&nodes));
    if private && nodes.prefix_len() <= NARROWEST {
        return;
    }
    let message = format!("{nodes} cannot be the network of {name}");
    let why = "private networks of Hetzner Cloud are RFC 1918 ranges of /24 or wider";
    report.push(Finding::new(Code::BadServer, path, message, why).help("write a network such as \"10.13.13.0/24\""));
}

fn v4(context: &Context<'_>) -> Option<(AttrPath, IpNet)> {
    let lists: Option<&OneOrTwo<IpNet>> = context.shape.network.nodes.as_ref();
    let found = each(&AttrPath::of("network.nodes"), lists).find(|(_, network)| network.addr().is_ipv4());
    found.map(|(path, network)| (path, *network))
}
