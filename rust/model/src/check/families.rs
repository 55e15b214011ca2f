//! Address families: IPv4, IPv6, or both throughout.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Context, addresses::each, machine_path};
use crate::{
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
};

/// Set of address families in use.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    fn of(are_v4: impl IntoIterator<Item = bool>) -> Self {
        are_v4
            .into_iter()
            .fold(Self::default(), |families, is_v4| Self { v4: families.v4 || is_v4, v6: families.v6 || !is_v4 })
    }

    fn holds(self, other: Self) -> bool {
        (self.v4 || !other.v4) && (self.v6 || !other.v6)
    }

    const fn name(self) -> &'static str {
        match (self.v4, self.v6) {
            (true, true) => "IPv4 and IPv6",
            (true, false) => "IPv4",
            (false, true) => "IPv6",
            (false, false) => "no address family",
        }
    }
}

fn of_networks(networks: &[IpNet]) -> Families {
    Families::of(networks.iter().map(|network| network.addr().is_ipv4()))
}

fn of_nodes(context: &Context<'_>) -> Option<Families> {
    context.shape.network.nodes.as_ref().map(|networks| of_networks(&networks.0))
}

const DUAL_STACK: &str = "a list of two means dual stack: one IPv4 and one IPv6";

/// Checks that a list of two has one address of each family.
pub fn lists(context: &Context<'_>, report: &mut Report) {
    let network = &context.shape.network;
    for (name, networks) in [("nodes", &network.nodes), ("pods", &network.pods), ("services", &network.services)] {
        let are_v4 = each(&AttrPath::of("network").join(name), networks.as_ref());
        report_same_family(are_v4.map(|(path, network)| (path, network.addr().is_ipv4())), report);
    }
    for (name, machine) in &context.shape.machines {
        let are_v4 = each(&machine_path(name).join("ip"), machine.ip.as_ref());
        report_same_family(are_v4.map(|(path, address)| (path, address.is_ipv4())), report);
    }
}

fn report_same_family(are_v4: impl Iterator<Item = (AttrPath, bool)>, report: &mut Report) {
    let mut first = None;
    for (path, is_v4) in are_v4 {
        if first == Some(is_v4) {
            let message = format!("both are {}", Families::of([is_v4]).name());
            let finding = Finding::new(Code::AddressFamilies, path, message, DUAL_STACK);
            report.push(finding.help("write one of each family, or only one"));
        }
        first = Some(is_v4);
    }
}

/// Checks that nodes have addresses of all of the node networks' families.
pub fn machines(context: &Context<'_>, report: &mut Report) {
    let Some(nodes) = of_nodes(context) else { return };
    for (name, machine) in context.shape.machines.iter().filter(|(_, machine)| machine.nixos) {
        let Some(ip) = &machine.ip else { continue };
        let path = machine_path(name).join("ip");
        let families = Families::of(ip.iter().map(IpAddr::is_ipv4));
        if ip.0.len() == 2 && families != (Families { v4: true, v6: true }) {
            // Two of one family are reported by `lists`.
            continue;
        }
        let finding = if !nodes.holds(families) {
            let message = format!("{}, but the node network is {}", families.name(), nodes.name());
            let why = "nodes reach each other on one network, without a gateway";
            Finding::new(Code::AddressFamilies, path, message, why)
                .help(format!("write an {} address, or make network.nodes dual stack", nodes.name()))
        } else if !families.holds(nodes) {
            let message = format!("{} only, but the cluster is dual stack", families.name());
            let why = "in a dual-stack cluster the pods of every node have addresses of both families";
            Finding::new(Code::AddressFamilies, path, message, why)
                .help(format!("write both: [ \"{}\" \"...\" ]", ip.iter().map(ToString::to_string).collect::<String>()))
        } else {
            continue;
        };
        report.push(finding.related(AttrPath::of("network.nodes"), "the node network"));
    }
}

/// Checks that pods and services use the same families, and only families that the nodes have.
pub fn pods_and_services(context: &Context<'_>, report: &mut Report) {
    let Some(nodes) = of_nodes(context).filter(|_| defaults::uses_pods(context.shape)) else { return };
    let (pods, services) =
        (of_networks(&defaults::pods(context.shape)), of_networks(&defaults::services(context.shape)));
    for (name, families) in [("pods", pods), ("services", services)] {
        let path = AttrPath::of("network").join(name);
        if !nodes.holds(families) && !report.is_broken(&path) {
            let message = format!("{name} are {}, the nodes {} only", families.name(), nodes.name());
            let why = "packets of pods travel between nodes, which need the same family";
            let finding = Finding::new(Code::AddressFamilies, path, message, why);
            report.push(finding.help(format!("write {} ranges, or make network.nodes dual stack", nodes.name())));
        }
    }
    let path = AttrPath::of("network.services");
    if pods != services
        && nodes.holds(pods)
        && nodes.holds(services)
        && !report.is_broken(&path)
        && !report.is_broken(&AttrPath::of("network.pods"))
    {
        let message = format!("services are {}, pods are {}", services.name(), pods.name());
        let why = "Kubernetes requires the same families for both";
        let finding = Finding::new(Code::AddressFamilies, path, message, why);
        report.push(finding.help("write ranges of the same families for pods and services"));
    }
}

/// Checks that the virtual IP is of a family that the nodes have.
pub fn vip(context: &Context<'_>, report: &mut Report) {
    let Some(vip) = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.ip) else { return };
    let Some(nodes) = of_nodes(context) else { return };
    let family = Families::of([vip.is_ipv4()]);
    if !nodes.holds(family) {
        let message = format!("{vip} is {}, but the node network is {}", family.name(), nodes.name());
        let why = "nodes answer for it, or announce it, over a network of its family";
        let finding = Finding::new(Code::AddressFamilies, AttrPath::of("kubeMaster.ip"), message, why);
        report.push(finding.help(format!("write an {} address", nodes.name())));
    }
}
