//! Overlay of a service mesh.

use ipnet::IpNet;

use super::Context;
use crate::{
    Orchestrator,
    codes::Code,
    overlay::{NARROWEST_PART, part_prefix},
    path::AttrPath,
    report::{Finding, Report},
};

/// Checks that the overlay of a mesh has a subnet for each address of the node network.
pub fn check(context: &Context<'_>, report: &mut Report) {
    if context.shape.cluster.orchestrator == Some(Orchestrator::Mesh)
        && let Some(overlay) = &context.shape.network.overlay
    {
        mesh(context, overlay.network, report);
    }
}

fn mesh(context: &Context<'_>, overlay: Option<IpNet>, report: &mut Report) {
    let path = AttrPath::of("network.overlay.network");
    let nodes = context.shape.network.nodes.as_ref().map(|nodes| nodes.0.as_slice()).unwrap_or_default();
    let nodes = nodes.iter().find_map(|network| match network {
        IpNet::V4(network) => Some(*network),
        IpNet::V6(_) => None,
    });
    match (overlay, nodes) {
        (None, _) => {}
        (Some(IpNet::V4(overlay)), Some(nodes)) => {
            let part = part_prefix(overlay, nodes);
            if part <= NARROWEST_PART {
                return;
            }
            let bits = 32 - nodes.prefix_len();
            let message = format!("{overlay} is too small for the nodes' {nodes}");
            let why = format!(
                "subnets are derived from addresses: 2^{bits} of a /{NARROWEST_PART} or wider need a /{} or wider",
                NARROWEST_PART.saturating_sub(bits)
            );
            let help = match nodes.prefix_len() {
                ..=8 => "give the cluster a separate node network, such as a /24".to_owned(),
                _ => format!("write a /{} or wider, or a narrower node network", NARROWEST_PART.saturating_sub(bits)),
            };
            report.push(Finding::new(Code::PodNetworkSize, path, message, why).help(help));
        }
        (Some(network), _) => {
            let message = format!("{network} cannot be the overlay of a mesh here");
            let why = "the mesh's overlay, and the node addresses it is derived from, are IPv4";
            let finding = Finding::new(Code::AddressFamilies, path, message, why);
            report.push(finding.help("write an IPv4 range, such as \"10.10.0.0/16\", and IPv4 node addresses"));
        }
    }
}
