//! Subnet of each node in a service mesh's overlay. It is derived from the node's own address, so that it is known
//! before anything runs, and a node that is added or removed moves no other.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{Cluster, Node};

/// Shortest prefix of a node's subnet: flannel's own default (flannel, Documentation/configuration.md, `SubnetLen`).
const WIDEST_PART: u8 = 24;

/// Longest prefix of a node's subnet. flannel accepts a /30; a /29 leaves room for its two devices and a few
/// containers.
pub const NARROWEST_PART: u8 = 29;

/// Subnet of a node in the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlayPart {
    /// The node's subnet.
    pub subnet: Ipv4Net,
    /// The first address of the subnet, which the node itself has.
    pub address: Ipv4Addr,
}

/// Returns the prefix length of each node's subnet: long enough for one subnet per address of the node network, and
/// never shorter than a /24 or than what leaves flannel its minimum of four subnets.
#[must_use]
pub fn part_prefix(overlay: Ipv4Net, nodes: Ipv4Net) -> u8 {
    let bits = (Ipv4Addr::BITS as u8).saturating_sub(nodes.prefix_len());
    overlay.prefix_len().saturating_add(bits.max(2)).max(WIDEST_PART)
}

fn part(overlay: Ipv4Net, nodes: Ipv4Net, node: Ipv4Addr) -> Option<OverlayPart> {
    let prefix = part_prefix(overlay, nodes);
    let place = u32::from(node) & u32::from(nodes.hostmask());
    let offset = place.checked_shl(Ipv4Addr::BITS.checked_sub(u32::from(prefix))?)?;
    let first = u32::from(overlay.network()).checked_add(offset)?;
    let subnet = Ipv4Net::new(Ipv4Addr::from(first), prefix).ok()?;
    (prefix <= NARROWEST_PART).then(|| OverlayPart { subnet, address: Ipv4Addr::from(first + 1) })
}

impl Cluster {
    /// Returns the range of the mesh's overlay; `None` if the cluster is not a mesh, or if its nodes use only their own
    /// addresses.
    #[must_use]
    pub fn mesh_overlay(&self) -> Option<Ipv4Net> {
        self.mesh_nodes().next()?;
        match self.network.overlay.as_ref()?.network? {
            IpNet::V4(network) => Some(network),
            IpNet::V6(_) => None,
        }
    }

    /// Returns the node's subnet of the mesh's overlay; `None` if it has none.
    #[must_use]
    pub fn overlay_part(&self, node: &Node) -> Option<OverlayPart> {
        let overlay = self.mesh_overlay().filter(|_| self.runs_mesh(node))?;
        match (self.network.nodes, node.ip) {
            (IpNet::V4(nodes), IpAddr::V4(ip)) => part(overlay, nodes, ip),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{part, part_prefix};

    #[test]
    fn a_nodes_part_follows_from_its_address() {
        for (overlay, nodes, node, subnet, address) in [
            ("10.10.0.0/16", "10.13.13.0/24", "10.13.13.2", "10.10.2.0/24", "10.10.2.1"),
            ("10.10.0.0/16", "10.13.13.0/24", "10.13.13.254", "10.10.254.0/24", "10.10.254.1"),
            // More addresses than /24s: the subnets get smaller.
            ("10.10.0.0/16", "10.0.0.0/20", "10.0.3.7", "10.10.48.112/28", "10.10.48.113"),
            ("10.64.0.0/10", "10.0.0.0/16", "10.0.255.254", "10.127.255.128/26", "10.127.255.129"),
            // A wide overlay for a few addresses: still a /24 each.
            ("10.0.0.0/8", "192.168.1.0/28", "192.168.1.14", "10.0.14.0/24", "10.0.14.1"),
            ("172.30.0.0/24", "192.168.1.0/28", "192.168.1.3", "172.30.0.48/28", "172.30.0.49"),
        ] {
            let part = part(overlay.parse().unwrap(), nodes.parse().unwrap(), node.parse().unwrap()).unwrap();
            assert_eq!((part.subnet.to_string(), part.address.to_string()), (subnet.to_owned(), address.to_owned()));
        }
    }

    #[test]
    fn an_overlay_that_is_too_small_has_no_parts() {
        let (overlay, nodes) = ("10.10.0.0/16".parse().unwrap(), "10.0.0.0/16".parse().unwrap());
        assert_eq!(part_prefix(overlay, nodes), 32);
        assert_eq!(part(overlay, nodes, "10.0.0.2".parse().unwrap()), None);
    }

    #[test]
    fn flannel_has_the_four_parts_that_it_insists_on() {
        // flannel, pkg/subnet/config.go: "network must be able to accommodate at least four subnets".
        assert_eq!(part_prefix("10.10.0.0/24".parse().unwrap(), "10.0.0.0/31".parse().unwrap()), 26);
    }
}
