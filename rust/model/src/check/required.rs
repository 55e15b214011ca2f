//! Required attributes.

use super::{Context, machine_path};
use crate::{
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
};

/// Returns the finding that the attribute is missing.
pub fn missing(path: &AttrPath) -> Finding {
    let name = path.attribute().unwrap_or_default();
    let (why, example) = match path.to_string().as_str() {
        "cluster.name" => ("etcd's cluster token and the domain are derived from it", "name = \"magi\";"),
        "network.nodes" => ("prefix lengths and firewall rules are derived from it", "nodes = \"10.13.13.0/24\";"),
        "network.overlay.backend" => ("an overlay needs a transport for packets", "backend = \"wireguard\";"),
        "network.overlay.network" => ("the overlay addresses are derived from it", "network = \"10.10.0.0/16\";"),
        "machines" => ("a cluster consists of machines", "machines.cp1 = { ip = \"10.13.13.2\"; };"),
        "kubeMaster.ip" => ("it is the address of the endpoint", "ip = \"10.13.13.10\";"),
        "dns.zone" => ("records are names in a zone", "zone = \"example.com\";"),
        "kubernetes.acme.email" => ("it identifies the account at the ACME server", "email = \"ops@magi.dev\";"),
        _ if name == "serverType" => ("it determines cores, memory, disk and price", "serverType = \"cx23\";"),
        _ if name == "size" => ("it determines cores, memory, disk and price", "size = \"s-2vcpu-4gb\";"),
        _ if name == "region" => ("a droplet is in a data center", "region = \"fra1\";"),
        _ if name == "location" => ("a server is in a data center", "location = \"nbg1\";"),
        _ if name == "ip" => ("nodes address each other by it", "ip = \"10.13.13.2\";"),
        _ => ("keys and recipients are listed under it", "name = \"ops\";"),
    };
    Finding::new(Code::MissingAttribute, path.clone(), "required attribute is missing", why)
        .help(format!("write {example}"))
}

/// Reports each required attribute that is missing.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let shape = context.shape;
    let mut absent = Vec::new();
    if shape.cluster.name.is_none() {
        absent.push(AttrPath::of("cluster.name"));
    }
    if shape.network.nodes.is_none() {
        absent.push(AttrPath::of("network.nodes"));
    }
    if shape.network.overlay.as_ref().is_some_and(|overlay| overlay.backend.is_none()) {
        absent.push(AttrPath::of("network.overlay.backend"));
    }
    let is_mesh = shape.cluster.orchestrator == Some(crate::Orchestrator::Mesh);
    if is_mesh && shape.network.overlay.as_ref().is_some_and(|overlay| overlay.network.is_none()) {
        absent.push(AttrPath::of("network.overlay.network"));
    }
    if shape.kube_master.as_ref().is_some_and(|endpoint| endpoint.ip.is_none()) {
        absent.push(AttrPath::of("kubeMaster.ip"));
    }
    if shape.kubernetes.acme.as_ref().is_some_and(|acme| acme.email.is_none()) {
        absent.push(AttrPath::of("kubernetes.acme.email"));
    }
    if shape.dns.as_ref().is_some_and(|dns| dns.zone.is_none()) {
        absent.push(AttrPath::of("dns.zone"));
    }
    for (position, operator) in shape.cluster.operators.iter().enumerate() {
        if operator.name.is_none() {
            absent.push(AttrPath::of("cluster.operators").join(position).join("name"));
        }
    }
    let without_address = shape.machines.iter().filter(|(_, machine)| machine.ip.is_none());
    absent.extend(without_address.map(|(name, _)| machine_path(name).join("ip")));
    for (name, server) in shape.machines.iter().filter_map(|(name, machine)| Some((name, machine.hetzner.as_ref()?))) {
        let path = machine_path(name).join("hetzner");
        let required = [("serverType", &server.server_type), ("location", &server.location)];
        absent.extend(required.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| path.join(*name)));
    }
    let droplets = shape.machines.iter().filter_map(|(name, machine)| Some((name, machine.digitalocean.as_ref()?)));
    for (name, server) in droplets {
        let path = machine_path(name).join("digitalocean");
        let required = [("size", &server.size), ("region", &server.region)];
        absent.extend(required.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| path.join(*name)));
    }
    for path in absent {
        if !report.is_broken(&path) {
            report.push(missing(&path));
        }
    }
}
