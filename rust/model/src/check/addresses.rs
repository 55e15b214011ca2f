//! Addresses of machines and the virtual IP.

use std::{collections::HashMap, net::IpAddr};

use ipnet::IpNet;

use super::{Context, api, machine_path};
use crate::{
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::{MachineShape, OneOrTwo, VipMode},
};

/// Returns the values of an attribute, each with its path: for a list, the paths of its elements.
pub fn each<'a, T>(
    path: &AttrPath,
    values: Option<&'a OneOrTwo<T>>,
) -> impl Iterator<Item = (AttrPath, &'a T)> + use<'a, T> {
    let path = path.clone();
    let values = values.map_or(&[][..], |values| values.0.as_slice());
    let is_list = values.len() > 1;
    values
        .iter()
        .enumerate()
        .map(move |(position, value)| (if is_list { path.join(position) } else { path.clone() }, value))
}

fn addresses<'a>(name: &str, machine: &'a MachineShape) -> impl Iterator<Item = (AttrPath, &'a IpAddr)> + use<'a> {
    each(&machine_path(name).join("ip"), machine.ip.as_ref())
}

/// Returns why no host in this network can have the address: it is the network's own, or its broadcast address.
pub fn reserved(network: &IpNet, address: IpAddr) -> Option<&'static str> {
    match network {
        // A /31 has two hosts (RFC 3021), a /32 one.
        IpNet::V4(v4) if v4.prefix_len() < 31 && address == IpAddr::V4(v4.network()) => {
            Some("the network's own address")
        }
        IpNet::V4(v4) if v4.prefix_len() < 31 && address == IpAddr::V4(v4.broadcast()) => Some("the broadcast address"),
        IpNet::V6(v6) if v6.prefix_len() < 127 && address == IpAddr::V6(v6.network()) => {
            Some("the routers' anycast address (RFC 4291, 2.6.1)")
        }
        _ => None,
    }
}

/// Returns the node network of the address's family.
pub fn network_of<'a>(context: &Context<'a>, address: IpAddr) -> Option<&'a IpNet> {
    let mut networks = context.shape.network.nodes.iter().flat_map(|networks| networks.iter());
    networks.find(|network| network.addr().is_ipv4() == address.is_ipv4())
}

/// Checks that no two machines share an address; disabled machines count too.
pub fn duplicates(context: &Context<'_>, report: &mut Report) {
    let mut seen: HashMap<IpAddr, (&String, AttrPath)> = HashMap::with_capacity(context.shape.machines.len());
    for (name, machine) in &context.shape.machines {
        for (path, address) in addresses(name, machine) {
            let Some((owner, first)) = seen.get(&address.to_canonical()) else {
                seen.insert(address.to_canonical(), (name, path));
                continue;
            };
            let owner_is_disabled = context.shape.machines.get(*owner).is_some_and(|owner| !owner.enable);
            let note = if owner_is_disabled { " (disabled, its address stays reserved)" } else { "" };
            let message = format!("{address} is also the address of {owner}{note}");
            let why = "each would take the other's traffic";
            let help = free_address(context, machine).map(|free| format!("give it a free address, such as \"{free}\""));
            let finding = Finding::new(Code::DuplicateAddress, path, message, why).maybe_help(help);
            report.push(finding.related(first.clone(), format!("first used here, by {owner}")));
        }
    }
}

/// Returns an address that no machine and no virtual IP uses; `None` if none is found quickly.
fn free_address(context: &Context<'_>, machine: &MachineShape) -> Option<IpAddr> {
    let address = *machine.ip.as_ref()?.0.first()?;
    let network = network_of(context, address)?;
    let is_used = |address: &IpAddr| {
        let of_machine =
            |machine: &MachineShape| machine.ip.iter().flat_map(OneOrTwo::iter).any(|used| used == address);
        context.shape.machines.values().any(of_machine)
            || context.shape.kube_master.as_ref().is_some_and(|endpoint| endpoint.ip == Some(*address))
            || context.shape.network.gateway == Some(*address)
    };
    // A suggestion does not justify a search through a large cluster.
    if context.shape.machines.len() > 64 {
        return None;
    }
    network.hosts().skip(1).take(128).find(|address| reserved(network, *address).is_none() && !is_used(address))
}

/// Checks that the machines that machinist deploys have addresses inside the node network.
pub fn inside_node_network(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in context.shape.machines.iter().filter(|(_, machine)| machine.nixos) {
        for (path, address) in addresses(name, machine) {
            // An address of another family is reported by the check of address families.
            let Some(network) = network_of(context, *address) else { continue };
            let network = network.trunc();
            let (message, why) = match reserved(&network, *address) {
                _ if !network.contains(address) => (
                    format!("{address} is outside the node network {network}"),
                    "nodes reach each other on one network, without a gateway",
                ),
                Some(reserved) => (format!("{address} is {reserved} of {network}"), "no host can have this address"),
                None => continue,
            };
            let help = free_address(context, machine).map_or_else(
                || format!("write an address of {network}, or widen network.nodes"),
                |free| format!("write an address of {network}, such as \"{free}\", or widen network.nodes"),
            );
            let finding = Finding::new(Code::AddressOutsideNetwork, path, message, why).help(help);
            report.push(finding.related(AttrPath::of("network.nodes"), "the node network"));
        }
    }
}

/// Checks that no machine uses the virtual IP as its own address.
pub fn vip_is_unique(context: &Context<'_>, report: &mut Report) {
    let Some(vip) = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.ip) else { return };
    let path = AttrPath::of("kubeMaster.ip");
    let why = "a virtual IP moves between control planes; it cannot also be the address of one machine";
    let help = "write an address that no machine uses";
    for (name, machine) in &context.shape.machines {
        for (own, _) in addresses(name, machine).filter(|(_, address)| address.to_canonical() == vip.to_canonical()) {
            let message = format!("{vip} is also the address of {name}");
            let finding = Finding::new(Code::VipIsNodeAddress, path.clone(), message, why).help(help);
            report.push(finding.related(own, format!("the address of {name}")));
        }
    }
    if context.shape.network.gateway == Some(vip) {
        let message = format!("{vip} is also the default gateway");
        let finding = Finding::new(Code::VipIsNodeAddress, path, message, why).help(help);
        report.push(finding.related(AttrPath::of("network.gateway"), "the default gateway"));
    }
}

/// Checks that the virtual IP is inside the node network with ARP; with BGP it is better outside.
pub fn vip_fits_mode(context: &Context<'_>, report: &mut Report) {
    let Some(endpoint) = &context.shape.kube_master else { return };
    let path = AttrPath::of("kubeMaster.ip");
    let Some(vip) = endpoint.ip.filter(|_| !report.is_broken(&AttrPath::of("kubeMaster.mode"))) else { return };
    let Some(network) = network_of(context, vip).map(IpNet::trunc) else { return };
    let node_network = AttrPath::of("network.nodes");
    match (api::mode(endpoint), network.contains(&vip), reserved(&network, vip)) {
        (VipMode::Arp, false, _) => {
            let why = "with ARP one node answers for it on the nodes' own link, where no one looks for it";
            let message = format!("{vip} is outside the node network {network}");
            let finding = Finding::new(Code::VipOutsideNetwork, path, message, why)
                .help(format!("write a free address of {network}, or announce it to a Router: mode = \"bgp\""));
            report.push(finding.related(node_network, "the node network"));
        }
        (VipMode::Arp, true, Some(reserved)) => {
            let why = "no host can have this address";
            let message = format!("{vip} is {reserved} of {network}");
            let finding = Finding::new(Code::VipOutsideNetwork, path, message, why);
            report.push(
                finding.help(format!("write a free address of {network}")).related(node_network, "the node network"),
            );
        }
        (VipMode::Bgp, true, _) => {
            let why = "machines on the nodes' link look for it there, not at the Router";
            let message = format!("{vip} is inside the node network {network}");
            let finding = Finding::new(Code::VipInsideNetwork, path, message, why)
                .help("write an address outside all networks in use; the Router learns it as a separate route");
            report.push(finding.related(node_network, "the node network"));
        }
        _ => {}
    }
}
