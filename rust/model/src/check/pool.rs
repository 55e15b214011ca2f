//! Addresses of Services of type LoadBalancer: they are announced as the virtual IP is, and no one else uses them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Context, addresses, api, machine_path, networks, objects, routed};
use crate::{
    AddressRange, Orchestrator,
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
    shape::{LoadBalancerShape, VipMode},
};

/// A range of the pool, and its place.
struct Part {
    path: AttrPath,
    text: String,
    range: AddressRange,
}

/// Checks the section `kubernetes.loadBalancer`.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let path = AttrPath::of("kubernetes.loadBalancer");
    let is_kubernetes = context.shape.cluster.orchestrator == Some(Orchestrator::Kubernetes);
    let Some(section) = context.shape.kubernetes.load_balancer.as_ref().filter(|_| is_kubernetes) else { return };
    if report.is_broken(&path) {
        return;
    }
    objects::image(&path, section.image.as_deref(), defaults::LOAD_BALANCER_IMAGE, report);
    let parts = parts(&path.join("pool"), section, report);
    for part in &parts {
        without_users(context, part, report);
    }
    disjoint(&parts, report);
    announced(context, &path, &parts, report);
}

/// Returns the ranges of the pool; reports those that are invalid, and an empty pool.
fn parts(path: &AttrPath, section: &LoadBalancerShape, report: &mut Report) -> Vec<Part> {
    if section.pool.is_empty() {
        let why = "Services of type LoadBalancer would wait for an address for ever";
        let finding = Finding::new(Code::BadServicePool, path.clone(), "the pool has no addresses", why);
        report.push(finding.help("write pool = [ \"10.13.101.0/24\" ], or leave `loadBalancer` out"));
    }
    let mut parts = Vec::new();
    for (position, text) in section.pool.iter().enumerate() {
        let path = path.join(position);
        let range = text.parse::<AddressRange>().and_then(|range| {
            let unused = "no Service gets an IPv4 address that ends with .0 or .255";
            if range.has_usable() { Ok(range) } else { Err(unused) }
        });
        match range {
            Ok(range) => parts.push(Part { path, text: text.clone(), range }),
            Err(why) => {
                let message = format!("{text:?} is not a range of addresses for Services");
                let finding = Finding::new(Code::BadServicePool, path, message, why);
                report.push(finding.help("write \"10.13.101.0/24\" or \"10.13.101.10-10.13.101.50\""));
            }
        }
    }
    parts
}

/// Checks that no machine, Router, name server or virtual IP has an address of the range, and no network but the nodes'.
fn without_users(context: &Context<'_>, part: &Part, report: &mut Report) {
    let why = "each would take the other's traffic";
    for (address, owner, place) in users(context).into_iter().filter(|(address, ..)| part.range.contains(*address)) {
        let message = format!("{} contains {address}, {owner}", part.text);
        let finding = Finding::new(Code::BadServicePool, part.path.clone(), message, why);
        report.push(finding.help("write a range of free addresses").related(place, owner));
    }
    let nodes = AttrPath::of("network.nodes");
    for other in networks::ranges(context.shape) {
        let is_of_nodes = other.path == nodes || other.path.parent().as_ref() == Some(&nodes);
        if is_of_nodes || !part.range.overlaps(&other.network.trunc().into()) {
            continue;
        }
        let message = format!("{} overlaps with {} {}", part.text, other.noun, other.network);
        let why = "the cluster assigns the addresses of this network itself";
        let finding = Finding::new(Code::OverlappingNetworks, part.path.clone(), message, why);
        report.push(
            finding
                .help("write addresses outside the networks of pods, services and overlay")
                .related(other.path.clone(), other.note()),
        );
    }
}

/// Returns all addresses in use that machines.nix names: address, its owner in words, and its place.
fn users(context: &Context<'_>) -> Vec<(IpAddr, String, AttrPath)> {
    let shape = context.shape;
    let mut users = Vec::new();
    for (name, machine) in &shape.machines {
        for (path, address) in addresses::each(&machine_path(name).join("ip"), machine.ip.as_ref()) {
            users.push((*address, format!("the address of {name}"), path));
        }
    }
    if let Some(vip) = shape.kube_master.as_ref().and_then(|endpoint| endpoint.ip) {
        users.push((vip, "the virtual IP".to_owned(), AttrPath::of("kubeMaster.ip")));
    }
    // The Router and its name server are often machines too.
    let mut add = |address: IpAddr, owner: &str, path: AttrPath| {
        if users.iter().all(|(used, ..)| *used != address) {
            users.push((address, owner.to_owned(), path));
        }
    };
    if let Some(gateway) = shape.network.gateway {
        add(gateway, "the default gateway", AttrPath::of("network.gateway"));
    }
    for (position, server) in shape.network.nameservers.iter().enumerate() {
        add(*server, "a name server", AttrPath::of("network.nameservers").join(position));
    }
    users
}

fn disjoint(parts: &[Part], report: &mut Report) {
    for (position, second) in parts.iter().enumerate() {
        for first in parts[..position].iter().filter(|first| first.range.overlaps(&second.range)) {
            let message = format!("{} overlaps with {}", second.text, first.text);
            let why = "the pool has each address once";
            let finding = Finding::new(Code::BadServicePool, second.path.clone(), message, why);
            report.push(finding.help("leave one of them out").related(first.path.clone(), "the other range"));
        }
    }
}

/// Checks that kube-vip runs, and that clients find the addresses where it announces them.
fn announced(context: &Context<'_>, path: &AttrPath, parts: &[Part], report: &mut Report) {
    let endpoint = context.shape.kube_master.as_ref();
    if report.is_broken(&AttrPath::of("kubeMaster")) || routed::server_of_cloud(context).is_some() {
        return;
    }
    match endpoint.map(api::mode) {
        None => {
            let why = "kube-vip announces them, and runs only with a virtual IP";
            let message = "nothing announces the addresses of Services";
            let finding = Finding::new(Code::BadServicePool, path.clone(), message, why);
            report.push(finding.help("write kubeMaster with a free address, or leave `loadBalancer` out"));
        }
        Some(VipMode::External) => {
            let why = "kubeMaster.mode is \"external\", so no kube-vip runs on the control planes";
            let message = "nothing announces the addresses of Services";
            let finding = Finding::new(Code::BadServicePool, path.clone(), message, why)
                .help("leave it out, and add the load balancer's own controller to manifests/");
            report.push(finding.related(AttrPath::of("kubeMaster.mode"), "the API has a load balancer"));
        }
        Some(mode) => {
            for part in parts {
                of_service_family(context, part, report);
                match mode {
                    VipMode::Arp => on_link(context, part, report),
                    _ => behind_router(context, part, report),
                }
            }
        }
    }
}

/// With ARP, hosts on the nodes' link ask for the address.
fn on_link(context: &Context<'_>, part: &Part, report: &mut Report) {
    let Some(network) = addresses::network_of(context, part.range.first()).map(IpNet::trunc) else { return };
    let (message, why) = if !part.range.is_inside(&network) {
        let why = "with ARP one node answers for each on the nodes' own link, where no one looks for it";
        (format!("{} is outside the node network {network}", part.text), why)
    } else if let Some((address, words)) = without_host(&network, &part.range) {
        (format!("{} contains {address}, {words} of {network}", part.text), "no host can have this address")
    } else {
        return;
    };
    let finding = Finding::new(Code::BadServicePool, part.path.clone(), message, why)
        .help(format!("write free addresses of {network}, or announce them to a Router: kubeMaster.mode = \"bgp\""));
    report.push(finding.related(AttrPath::of("network.nodes"), "the node network"));
}

/// Returns an address of the range that Services get but no host of the network can have.
fn without_host(network: &IpNet, range: &AddressRange) -> Option<(IpAddr, &'static str)> {
    let ends = AddressRange::from(*network);
    [ends.first(), ends.last()].into_iter().find_map(|address| {
        let is_assigned = AddressRange::from(IpNet::from(address)).has_usable();
        let words = addresses::reserved(network, address)?;
        (is_assigned && range.contains(address)).then_some((address, words))
    })
}

/// With BGP, the Router learns a route for each address, over sessions of one family.
fn behind_router(context: &Context<'_>, part: &Part, report: &mut Report) {
    let vip = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.ip);
    if let Some(vip) = vip.filter(|vip| vip.is_ipv4() != part.range.is_ipv4()) {
        let message = format!("{} is of another address family than the virtual IP {vip}", part.text);
        let why = "the BGP sessions with the Router carry routes of one family";
        let finding = Finding::new(Code::BadServicePool, part.path.clone(), message, why)
            .help("write addresses of the virtual IP's family; with mode = \"arp\" both work");
        report.push(finding.related(AttrPath::of("kubeMaster.ip"), "the virtual IP"));
    }
    let nodes = addresses::network_of(context, part.range.first()).map(IpNet::trunc);
    if let Some(network) = nodes.filter(|network| part.range.overlaps(&(*network).into())) {
        let message = format!("{} overlaps with the node network {network}", part.text);
        let why = "machines on the nodes' link look for it there, not at the Router";
        let finding = Finding::new(Code::BadServicePool, part.path.clone(), message, why)
            .help("write addresses outside all networks in use; the Router learns each as a separate route");
        report.push(finding.related(AttrPath::of("network.nodes"), "the node network"));
    }
}

/// A Service has an external address only in the families of its cluster addresses.
fn of_service_family(context: &Context<'_>, part: &Part, report: &mut Report) {
    let services = defaults::services(context.shape);
    let is_served = services.iter().any(|network| network.addr().is_ipv4() == part.range.is_ipv4());
    if services.is_empty() || is_served {
        return;
    }
    let family = if part.range.is_ipv4() { "IPv4" } else { "IPv6" };
    let message = format!("no Service can have an address of {}", part.text);
    let why = format!("network.services has no {family} network, so no Service is reached by {family}");
    let finding = Finding::new(Code::BadServicePool, part.path.clone(), message, why);
    report.push(finding.help(format!("add {family} to network.nodes, pods and services, or leave the range out")));
}
