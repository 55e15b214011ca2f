//! Networks of clouds: they deliver packets to the addresses that they gave to servers, and to no others.

use super::{Context, api, machine_path};
use crate::{
    Orchestrator, OverlayBackend,
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::VipMode,
};

/// Checks that neither the overlay nor the virtual IP needs more of the network between servers.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let Some(name) = server_of_cloud(context) else { return };
    two_clouds(context, report);
    let why = "its private network delivers packets only to the addresses that it gave to servers";
    let server = |finding: Finding| finding.related(machine_path(name), "a server of a cloud");
    if context.shape.network.overlay.as_ref().is_some_and(|overlay| overlay.backend == Some(OverlayBackend::HostGw)) {
        let path = AttrPath::of("network.overlay.backend");
        let message = "host-gw does not work between servers of a cloud";
        let finding = Finding::new(Code::RoutedNetwork, path, message, why);
        report.push(server(finding.help("write backend = \"wireguard\", or \"vxlan\" without encryption")));
    }
    let has_api = matches!(context.shape.cluster.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s));
    if context.shape.kubernetes.load_balancer.is_some() {
        let path = AttrPath::of("kubernetes.loadBalancer");
        let message = "addresses of Services that nodes announce do not reach servers of a cloud";
        let finding = Finding::new(Code::RoutedNetwork, path, message, why);
        report.push(server(finding.help(
            "leave it out, and add the cloud's own controller to manifests/: it creates a load balancer for each Service",
        )));
    }
    let Some(endpoint) = context.shape.kube_master.as_ref().filter(|_| has_api) else { return };
    let message = match api::mode(endpoint) {
        VipMode::External => return,
        VipMode::Arp => "a virtual IP by ARP does not reach servers of a cloud",
        VipMode::Bgp => "servers of a cloud have no Router that learns a virtual IP by BGP",
    };
    let finding = Finding::new(Code::RoutedNetwork, AttrPath::of("kubeMaster"), message, why);
    report.push(server(finding.help(
        "write mode = \"external\", with the address of a load balancer that forwards TCP to the control planes",
    )));
}

/// Returns a server whose private network is that of its cloud. A control mesh is another network between them, and has
/// checks of its own.
pub fn server_of_cloud<'a>(context: &Context<'a>) -> Option<&'a String> {
    let has_mesh = context.shape.network.control.is_some();
    let mut servers =
        context.taking_part().filter(|(_, machine)| machine.hetzner.is_some() || machine.digitalocean.is_some());
    servers.next().map(|(name, _)| name).filter(|_| !has_mesh)
}

/// Servers of two clouds are in two networks, although both have the range of `network.nodes`.
fn two_clouds(context: &Context<'_>, report: &mut Report) {
    let with_roles = |has: fn(&crate::shape::MachineShape) -> bool| {
        context.taking_part().find(|(_, machine)| !machine.roles.is_empty() && has(machine)).map(|(name, _)| name)
    };
    let hetzner = with_roles(|machine| machine.hetzner.is_some());
    let digitalocean = with_roles(|machine| machine.digitalocean.is_some());
    if let (Some(one), Some(other)) = (hetzner, digitalocean) {
        let message = format!("{one} and {other} are servers of two clouds, in two private networks");
        let why = "members, workers and applications of a cluster reach each other by their private addresses";
        let finding = Finding::new(Code::RoutedNetwork, machine_path(other), message, why);
        let help =
            "put the machines with roles at one provider, or create them yourself and connect them by network.control";
        report.push(finding.help(help).related(machine_path(one), "a server of another cloud"));
    }
}
