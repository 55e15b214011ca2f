//! Endpoints of a control mesh: each leads to its machine, outside of the mesh, and the machines meet by them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use super::{Context, machine_path, names::is_domain, networks::own_range};
use crate::{
    ControlBackend,
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::{ControlShape, MachineShape},
};

/// The word for a machine that no other one can connect to.
const NONE: &str = "none";

/// Returns the endpoint that machines.nix gives a machine. A server that `provision` creates gets the recorded one.
pub fn endpoint(machine: &MachineShape) -> Option<String> {
    match machine.endpoint.as_deref() {
        Some(NONE) => None,
        Some(endpoint) => Some(endpoint.to_owned()),
        None => machine.public.first().map(ToString::to_string),
    }
}

/// Checks the endpoints of all machines.
pub fn check(context: &Context<'_>, control: &ControlShape, report: &mut Report) {
    for (name, machine) in context.taking_part() {
        syntax(name, machine, report);
        leads_out(context, name, machine, report);
    }
    shared(context, report);
    meeting(context, control, report);
}

/// Returns the attribute that the endpoint comes from.
fn place(name: &str, machine: &MachineShape) -> AttrPath {
    machine_path(name).join(if machine.endpoint.is_some() { "endpoint" } else { "public" })
}

fn syntax(name: &str, machine: &MachineShape, report: &mut Report) {
    let Some(endpoint) = machine.endpoint.as_deref().filter(|endpoint| !is_endpoint(endpoint)) else { return };
    let message = format!("{endpoint:?} is not an address or DNS name");
    let why = "other nodes connect to it, at the port of network.control";
    let help = "write an address without port, a DNS name, or \"none\"";
    report.push(Finding::new(Code::BadControlMesh, place(name, machine), message, why).help(help));
}

/// Resolvers read a name that ends with a number as an address, such as `10.1` as 10.0.0.1.
fn is_endpoint(text: &str) -> bool {
    let ends_with_number =
        || text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text == NONE || text.parse::<IpAddr>().is_ok() || (is_domain(&text.to_lowercase()) && !ends_with_number())
}

/// An endpoint in a network of the cluster would have to be reached through the mesh that it is to make.
fn leads_out(context: &Context<'_>, name: &str, machine: &MachineShape, report: &mut Report) {
    let Some(address) = endpoint(machine).and_then(|endpoint| endpoint.parse::<IpAddr>().ok()) else { return };
    let (message, why) = if let Some(range) = own_range(context.shape, address) {
        (format!("{address} is in {range}"), "packets to it would have to pass the mesh that they are to carry")
    } else if is_local(address) {
        (format!("{address} leads to no other machine"), "the other nodes connect to it")
    } else {
        return;
    };
    let finding = Finding::new(Code::BadControlMesh, place(name, machine), message, why);
    report
        .push(finding.help("write the address that the machine's network card has, or that its router forwards from"));
}

fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address == Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_link_local
}

/// One port of one address leads to one machine.
fn shared(context: &Context<'_>, report: &mut Report) {
    let mut first: BTreeMap<String, (&str, &MachineShape)> = BTreeMap::new();
    for (name, machine) in context.taking_part() {
        let Some(endpoint) = endpoint(machine).map(|endpoint| endpoint.to_lowercase()) else { continue };
        let Some((other, earlier)) = first.get(&endpoint) else {
            first.insert(endpoint, (name, machine));
            continue;
        };
        let message = format!("{other} and {name} have the endpoint {endpoint}");
        let why = "the port leads to one of them: the mesh has the same port everywhere";
        let finding = Finding::new(Code::BadControlMesh, place(name, machine), message, why);
        let help = "write endpoint = \"none\" for all but one machine behind the same router, and backend = \"tinc\" for several";
        report.push(finding.help(help).related(place(other, earlier), "the other one"));
    }
}

/// Two nodes meet if one of them has an endpoint, or, with tinc, by a third one that has.
fn meeting(context: &Context<'_>, control: &ControlShape, report: &mut Report) {
    let hidden: Vec<&String> =
        context.taking_part().filter(|(_, machine)| endpoint(machine).is_none()).map(|(name, _)| name).collect();
    let count = context.taking_part().count();
    if count < 2 {
        return;
    }
    if hidden.len() == count {
        let why = "nodes without an endpoint only connect to others";
        let help = "write `endpoint` for a machine that the others reach; more than one, so that it may fail";
        let path = AttrPath::of("network.control");
        report.push(Finding::new(Code::BadControlMesh, path, "no machine has an endpoint", why).help(help));
        return;
    }
    let ([first, second, ..], Some(ControlBackend::Wireguard)) = (hidden.as_slice(), control.backend) else { return };
    let message = format!("{first} and {second} have no endpoint");
    let why = "WireGuard has no relays: neither could connect to the other";
    let finding = Finding::new(Code::BadControlMesh, machine_path(second), message, why);
    let help = "write `endpoint` for one of them, or backend = \"tinc\", which relays through other nodes";
    report.push(finding.help(help).related(machine_path(first), "the other one"));
}
