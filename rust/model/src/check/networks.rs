//! Address ranges: canonical and disjoint, with DNS and gateway inside the right one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Context,
    addresses::{each, network_of, reserved},
};
use crate::{
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
    shape::Shape,
};

/// A range of the cluster.
pub struct Range {
    pub path: AttrPath,
    pub network: IpNet,
    /// Noun phrase, as in "overlaps with ...".
    pub noun: &'static str,
    is_default: bool,
}

impl Range {
    /// Returns the label of the range's place in the source.
    pub fn note(&self) -> String {
        if self.is_default { format!("{} is {} by default", self.noun, self.network) } else { self.noun.to_owned() }
    }
}

/// Returns all ranges, defaults included: nodes, pods, services, overlay.
pub fn ranges(shape: &Shape) -> Vec<Range> {
    let network = &shape.network;
    let mut ranges = Vec::new();
    let mut add = |path: &str, noun, written: Option<&_>, default: Vec<IpNet>| {
        let path = AttrPath::of(path);
        ranges.extend(each(&path, written).map(|(path, network)| Range {
            path,
            network: *network,
            noun,
            is_default: false,
        }));
        if written.is_none() {
            ranges.extend(default.into_iter().map(|network| Range {
                path: path.clone(),
                network,
                noun,
                is_default: true,
            }));
        }
    };
    add("network.nodes", "the node network", network.nodes.as_ref(), Vec::new());
    add("network.pods", "the pod network", network.pods.as_ref(), defaults::pods(shape));
    add("network.services", "the service network", network.services.as_ref(), defaults::services(shape));
    if let Some(overlay) = network.overlay.as_ref().and_then(|overlay| overlay.network) {
        let path = AttrPath::of("network.overlay.network");
        ranges.push(Range { path, network: overlay, noun: "the overlay network", is_default: false });
    }
    ranges
}

/// Returns the noun of the cluster's own range that has the address.
pub fn own_range(shape: &Shape, address: IpAddr) -> Option<&'static str> {
    ranges(shape).into_iter().find(|range| range.network.contains(&address)).map(|range| range.noun)
}

/// Checks that each range is written by its first address.
pub fn first_addresses(context: &Context<'_>, report: &mut Report) {
    for Range { path, network, .. } in ranges(context.shape) {
        if network.addr() != network.network() {
            let message = format!("{network} has bits set behind its prefix");
            let why = "it is unclear whether an address or a range was meant";
            let finding = Finding::new(Code::BadNetwork, path, message, why);
            report.push(finding.help(format!("write \"{}\"", network.trunc())));
        }
    }
}

/// Ranges for use within a site: private (RFC 1918, RFC 4193), shared addresses (RFC 6598) and benchmarks (RFC 2544).
const OWN: [&str; 6] = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "fc00::/7"];

/// Checks that the node network contains no addresses of other parties: nodes open ports to all of it.
pub fn private(context: &Context<'_>, report: &mut Report) {
    let network = &context.shape.network;
    if network.allow_public_nodes {
        return;
    }
    let own: Vec<IpNet> = OWN.iter().filter_map(|text| text.parse().ok()).collect();
    for (path, nodes) in each(&AttrPath::of("network.nodes"), network.nodes.as_ref()) {
        let nodes = nodes.trunc();
        let is_one_machine = nodes.prefix_len() == nodes.max_prefix_len();
        if is_one_machine || own.iter().any(|range| range.contains(&nodes)) {
            continue;
        }
        let message = format!("{nodes} is not a private network");
        let why = "nodes open ports to all of it: any host in it could reach instances, the overlay and closure copies";
        let finding = Finding::new(Code::PublicNodes, path, message, why).help(
            "write the site's private network; if all of it belongs to this cluster: network.allowPublicNodes = true",
        );
        report.push(finding);
    }
}

/// Checks that no two ranges share an address. There are at most seven ranges.
pub fn disjoint(context: &Context<'_>, report: &mut Report) {
    let ranges = ranges(context.shape);
    for (position, second) in ranges.iter().enumerate() {
        for first in &ranges[..position] {
            if !(first.network.contains(&second.network) || second.network.contains(&first.network)) {
                continue;
            }
            let default = if second.is_default { "the default " } else { "" };
            let message = format!("{default}{} overlaps with {} {}", second.network, first.noun, first.network);
            let why = "an address in both would be routed to only one of them";
            let finding = Finding::new(Code::OverlappingNetworks, second.path.clone(), message, why)
                .help(format!("choose a range for {} that is not used elsewhere", second.noun));
            report.push(finding.related(first.path.clone(), first.note()));
        }
    }
}

/// Checks that the virtual IP is outside the ranges that the cluster assigns itself.
pub fn vip_outside_ranges(context: &Context<'_>, report: &mut Report) {
    let Some(vip) = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.ip) else { return };
    let nodes = AttrPath::of("network.nodes");
    let is_of_nodes = |path: &AttrPath| *path == nodes || path.parent().as_ref() == Some(&nodes);
    for range in ranges(context.shape).iter().filter(|range| !is_of_nodes(&range.path) && range.network.contains(&vip))
    {
        let message = format!("{vip} is inside {} {}", range.noun, range.network);
        let why = "the cluster assigns the addresses of this range itself";
        let finding = Finding::new(Code::OverlappingNetworks, AttrPath::of("kubeMaster.ip"), message, why)
            .help("write an address outside the ranges of pods, services and overlay");
        report.push(finding.related(range.path.clone(), range.note()));
    }
}

/// Checks that the cluster's DNS address is a valid service address.
pub fn dns(context: &Context<'_>, report: &mut Report) {
    let services = defaults::services(context.shape);
    let (Some(range), Some(dns)) = (services.first().map(IpNet::trunc), context.shape.network.dns) else { return };
    let first_service = range.hosts().find(|address| *address != range.network());
    let message = if !range.contains(&dns) {
        format!("{dns} is outside the service network {range}")
    } else if let Some(reserved) = reserved(&range, dns) {
        format!("{dns} is {reserved} of {range}")
    } else if first_service == Some(dns) {
        format!("{dns} is the address of the service `kubernetes`")
    } else {
        return;
    };
    let why = "the cluster's DNS is a service; the API server assigns services addresses from this range only";
    let tenth = defaults::dns(&Shape {
        network: crate::shape::NetworkShape { dns: None, ..context.shape.network.clone() },
        cluster: context.shape.cluster.clone(),
        ..Shape::default()
    });
    let help = tenth.map(|tenth| format!("write \"{tenth}\", or leave it out: that is the default"));
    report.push(Finding::new(Code::DnsOutsideServices, AttrPath::of("network.dns"), message, why).maybe_help(help));
}

/// Checks that the default gateway is on the nodes' link.
pub fn gateway(context: &Context<'_>, report: &mut Report) {
    let Some(gateway) = context.shape.network.gateway else { return };
    // The usual gateway of an IPv6 network is its Router's link-local address.
    let is_link_local = matches!(gateway, IpAddr::V6(gateway) if gateway.is_unicast_link_local());
    if context.shape.network.nodes.is_none() || is_link_local {
        return;
    }
    let message = match network_of(context, gateway).map(IpNet::trunc) {
        None => format!("{gateway} is of another address family than the node network"),
        Some(network) if !network.contains(&gateway) => format!("{gateway} is outside the node network {network}"),
        Some(network) => match reserved(&network, gateway).filter(|_| gateway.is_ipv4()) {
            Some(reserved) => format!("{gateway} is {reserved} of {network}"),
            None => return,
        },
    };
    let why = "a default gateway must be on the nodes' own link";
    let finding = Finding::new(Code::GatewayOutsideNetwork, AttrPath::of("network.gateway"), message, why)
        .help("write the Router's address inside the node network, or leave it out");
    report.push(finding.related(AttrPath::of("network.nodes"), "the node network"));
}
