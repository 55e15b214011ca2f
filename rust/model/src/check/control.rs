//! Control mesh: every node reaches every other one, and nothing depends on a link between them.

use super::{Context, api, endpoints, machine_path, values::bad_port};
use crate::{
    ControlBackend, Orchestrator, OverlayBackend, Provider,
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
    role::Role,
    shape::{ControlShape, MachineShape, OneOrTwo, VipMode},
};

/// TCP ports of etcd and Kubernetes' components, and UDP ports of overlays, with their users.
const TAKEN: [(u16, &str); 11] = [
    (2379, "etcd"),
    (2380, "etcd"),
    (2381, "etcd"),
    (6443, "the API server"),
    (8472, "an overlay with VXLAN"),
    (10249, "kube-proxy"),
    (10250, "the kubelet"),
    (10256, "kube-proxy"),
    (10257, "the controller manager"),
    (10259, "the scheduler"),
    (51820, "an overlay with WireGuard"),
];

/// TCP ports of an ingress.
const INGRESS: [u16; 2] = [80, 443];

/// Checks the control mesh, or that nothing is configured for one.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let Some(control) = &context.shape.network.control else {
        without_mesh(context, report);
        return;
    };
    port(context, control, report);
    for (name, machine) in context.taking_part() {
        servers(name, machine, report);
        sandbox(name, machine, report);
        interface(name, machine, report);
        way_in(name, machine, report);
    }
    one_family(context, report);
    endpoints::check(context, control, report);
    gateway(context, report);
    link(context, report);
}

fn without_mesh(context: &Context<'_>, report: &mut Report) {
    for (name, _) in context.shape.machines.iter().filter(|(_, machine)| machine.endpoint.is_some()) {
        let path = machine_path(name).join("endpoint");
        let why = "only a control mesh connects nodes by their endpoints";
        let finding = Finding::new(Code::WithoutEffect, path, "`endpoint` has no effect", why);
        report.push(finding.help("write network.control.backend = \"wireguard\", or leave `endpoint` out"));
    }
}

fn push(report: &mut Report, path: AttrPath, message: impl Into<String>, why: &'static str, help: impl Into<String>) {
    report.push(Finding::new(Code::BadControlMesh, path, message, why).help(help));
}

/// The default port counts too: SSH may listen on it.
fn port(context: &Context<'_>, control: &ControlShape, report: &mut Report) {
    let path = AttrPath::of("network.control.port");
    if control.port == Some(0) {
        report.push(bad_port(&path, &0.into()));
        return;
    }
    let Some(port) = control.port.or_else(|| control.backend.map(ControlBackend::default_port)) else { return };
    let api = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.port);
    let is_ssh = |machine: &MachineShape| machine.ssh.port.unwrap_or(defaults::SSH_PORT) == port;
    // WireGuard's port is UDP only.
    let is_tcp = control.backend == Some(ControlBackend::Tinc);
    let has_ingress = context.with_role(Role::Ingress).next().is_some();
    let user = match TAKEN.iter().find(|(taken, _)| *taken == port) {
        Some((_, user)) => Some(*user),
        None if api == Some(port) => Some("the API server"),
        None if is_tcp && has_ingress && INGRESS.contains(&port) => Some("the ingress"),
        None => context.taking_part().any(|(_, machine)| is_ssh(machine)).then_some("SSH"),
    };
    if let Some(user) = user {
        let why = "the mesh listens on every address of a node";
        push(report, path, format!("port {port} is used by {user}"), why, "write a free port, or leave it out");
    }
}

/// The private network of a provider would have the addresses of the mesh.
fn servers(name: &str, machine: &MachineShape, report: &mut Report) {
    let (attribute, provider) = match (&machine.hetzner, &machine.digitalocean) {
        (Some(_), _) => ("hetzner", "Hetzner Cloud"),
        (_, Some(_)) => ("digitalocean", "DigitalOcean"),
        _ => return,
    };
    let message = format!("`provision` creates {name} with a private network at {provider}");
    let why = "that network would have the addresses of the control mesh";
    let help = format!("create the server yourself, leave `{attribute}` out, and write `endpoint`");
    push(report, machine_path(name).join(attribute), message, why, help);
}

fn sandbox(name: &str, machine: &MachineShape, report: &mut Report) {
    if machine.provider == Provider::Sandbox {
        let message = format!("{name} is a machine of the sandbox");
        let why = "there the network card has its `ip`, and the machines have a link in common";
        let help = "leave network.control out in the sandbox; `machinist rehearse` does so by itself";
        push(report, machine_path(name).join("provider"), message, why, help);
    }
}

fn interface(name: &str, machine: &MachineShape, report: &mut Report) {
    let Some(interface) = &machine.interface else { return };
    let message = format!("{interface} cannot have the address of {name}");
    let why = "the interface of the control mesh has it";
    let help = "leave `interface` out; configure the network card by DHCP, or in nodes/";
    push(report, machine_path(name).join("interface"), message, why, help);
}

/// Operators are not in the mesh.
fn way_in(name: &str, machine: &MachineShape, report: &mut Report) {
    if endpoints::endpoint(machine).is_some() || machine.ssh.host.is_some() {
        return;
    }
    let message = format!("{name} has no address that an operator reaches");
    let why = "its `ip` exists only in the control mesh";
    let help = "write `endpoint`, or ssh.host: an address, or a name of your SSH configuration with a jump host";
    push(report, machine_path(name), message, why, help);
}

fn one_family(context: &Context<'_>, report: &mut Report) {
    let nodes = context.shape.network.nodes.as_ref().map_or(0, |nodes| nodes.0.len());
    let dual =
        context.taking_part().find(|(_, machine)| machine.ip.as_ref().map_or(0, |ip: &OneOrTwo<_>| ip.0.len()) > 1);
    if nodes > 1 || dual.is_some() {
        let path = AttrPath::of("network.nodes");
        let why = "the interface of the mesh has one address; its packets may use both families";
        push(report, path, "a control mesh with two families", why, "write one network and one address for each node");
    }
}

fn gateway(context: &Context<'_>, report: &mut Report) {
    let Some(gateway) = context.shape.network.gateway else { return };
    let message = format!("{gateway} cannot be a gateway");
    let why = "packets to a default gateway would leave through the mesh, which needs it itself";
    let help = "leave it out; configure the network card by DHCP, or in nodes/";
    push(report, AttrPath::of("network.gateway"), message, why, help);
}

/// The mesh delivers packets to the addresses of nodes, and has no link on which one could answer for another address.
fn link(context: &Context<'_>, report: &mut Report) {
    let why = "the control mesh delivers packets only to the addresses of nodes";
    let mesh = |finding: Finding| finding.related(AttrPath::of("network.control"), "the control mesh");
    if context.shape.network.overlay.as_ref().is_some_and(|overlay| overlay.backend == Some(OverlayBackend::HostGw)) {
        let path = AttrPath::of("network.overlay.backend");
        let finding = Finding::new(Code::RoutedNetwork, path, "host-gw does not work in a control mesh", why);
        report.push(mesh(finding.help("write backend = \"vxlan\": the mesh encrypts its packets")));
    }
    let has_api = matches!(context.shape.cluster.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s));
    let Some(endpoint) = context.shape.kube_master.as_ref().filter(|_| has_api) else { return };
    let message = match api::mode(endpoint) {
        VipMode::External => return,
        VipMode::Arp => "a virtual IP by ARP needs a link, which a control mesh is not",
        VipMode::Bgp => "no Router learns a virtual IP of a control mesh by BGP",
    };
    let finding = Finding::new(Code::RoutedNetwork, AttrPath::of("kubeMaster"), message, why);
    report.push(mesh(finding.help(
        "write mode = \"external\", with the address of a load balancer that forwards TCP to the control planes",
    )));
}
