//! Sizes of address ranges.

use ipnet::IpNet;

use super::{Context, addresses::each};
use crate::{
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
};

/// Returns the prefix length of a node's subnet in the range of pods or overlay (kube-controller-manager,
/// `--node-cidr-mask-size-ipv4` and `-ipv6`; flannel's `SubnetLen`).
const fn node_prefix(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(_) => 24,
        IpNet::V6(_) => 64,
    }
}

/// Returns the number of nodes that the range has subnets for.
fn room(network: &IpNet) -> u128 {
    let (part, prefix) = (node_prefix(network), network.prefix_len());
    if prefix > part { 0 } else { 1 << (part - prefix) }
}

/// Checks that the pods' range has a subnet for each node.
pub fn pods(context: &Context<'_>, report: &mut Report) {
    let shape = context.shape;
    if !defaults::uses_pods(shape) {
        return;
    }
    let path = AttrPath::of("network.pods");
    let written: Vec<(AttrPath, IpNet)> = match &shape.network.pods {
        Some(pods) => each(&path, Some(pods)).map(|(path, network)| (path, *network)).collect(),
        None => defaults::pods(shape).into_iter().map(|network| (path.clone(), network)).collect(),
    };
    for (path, network) in written {
        large_enough(context, path.clone(), &network, "pod", report);
        // kube-controller-manager: "the subnet mask size of the cluster CIDR must be at most 16 less than the node's".
        if network.addr().is_ipv6() && network.prefix_len() < 48 {
            let message = format!("{network} is too wide");
            let why = "Kubernetes supports IPv6 pod ranges of a /48 to a /64 only";
            let finding = Finding::new(Code::PodNetworkSize, path, message, why);
            report.push(finding.help(format!("write a /48 within it, such as \"{}/48\"", network.network())));
        }
    }
}

/// Checks that the overlay's own range has a subnet for each node.
pub fn overlay(context: &Context<'_>, report: &mut Report) {
    // A mesh has a different rule.
    if context.shape.cluster.orchestrator == Some(crate::Orchestrator::Mesh) {
        return;
    }
    if let Some(network) = context.shape.network.overlay.as_ref().and_then(|overlay| overlay.network) {
        large_enough(context, AttrPath::of("network.overlay.network"), &network, "overlay", report);
    }
}

fn large_enough(context: &Context<'_>, path: AttrPath, network: &IpNet, noun: &str, report: &mut Report) {
    let n_nodes = context.taking_part().count() as u128;
    let (room, part) = (room(network), node_prefix(network));
    if room >= n_nodes {
        return;
    }
    let needed = part - n_nodes.next_power_of_two().trailing_zeros() as u8;
    let nodes = |n: u128| if n == 1 { "1 node".to_owned() } else { format!("{n} nodes") };
    let message = format!("{network} has room for {}, the cluster has {n_nodes}", nodes(room));
    let why = format!("each node gets a /{part} of the {noun} network");
    report.push(Finding::new(Code::PodNetworkSize, path, message, why).help(format!("write a /{needed} or wider")));
}

/// Checks that the services' range has a size that kube-apiserver accepts.
pub fn services(context: &Context<'_>, report: &mut Report) {
    if !defaults::uses_pods(context.shape) {
        return;
    }
    for (path, network) in each(&AttrPath::of("network.services"), context.shape.network.services.as_ref()) {
        let (widest, narrowest) = if network.addr().is_ipv4() { (12, 28) } else { (108, 124) };
        let (message, why) = match network.prefix_len() {
            prefix if prefix < widest => {
                (format!("{network} is too wide"), "kube-apiserver accepts at most 2^20 addresses")
            }
            prefix if prefix > narrowest => {
                (format!("{network} is too narrow"), "DNS has the 10th address, and other services need more")
            }
            _ => continue,
        };
        let finding = Finding::new(Code::ServiceNetworkSize, path, message, why);
        report.push(finding.help(format!("write a range of a /{widest} to a /{narrowest}")));
    }
}
