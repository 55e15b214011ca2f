//! Public DNS of a cluster: the records that `machinist dns` keeps in a zone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Cluster, Dns, Node, NodeName};

impl Dns {
    /// Returns the name of a node's record, relative to the zone.
    #[must_use]
    pub fn node_name(&self, cluster: &Cluster, node: &NodeName) -> String {
        match relative(&cluster.domain, &self.zone) {
            Some(below) if below != "@" => format!("{node}.{below}"),
            _ => node.to_string(),
        }
    }

    /// Returns the name of the API endpoint's record, if its name is in the zone.
    #[must_use]
    pub fn endpoint_name(&self, cluster: &Cluster) -> Option<String> {
        let name = &cluster.kube_master.as_ref()?.name;
        relative(name, &self.zone).or_else(|| relative(&format!("{name}.{}", cluster.domain), &self.zone))
    }
}

/// Returns the name relative to the zone, `@` for the zone itself; `None` if it is not in the zone. `name` is in full.
#[must_use]
pub fn relative(name: &str, zone: &str) -> Option<String> {
    if name == zone {
        return Some("@".to_owned());
    }
    name.strip_suffix(zone)?.strip_suffix('.').map(str::to_owned)
}

/// Returns a name that a person wrote, in full or relative to the zone, as a relative one.
#[must_use]
pub fn as_relative(written: &str, zone: &str) -> String {
    relative(written, zone).unwrap_or_else(|| written.to_owned())
}

/// Returns the addresses of a node's records: those that machines.nix names, or those by which anyone can reach it.
/// `recorded` is the address of the server that `provision` created.
#[must_use]
pub fn public_addresses(node: &Node, recorded: Option<IpAddr>) -> Vec<IpAddr> {
    if !node.public.is_empty() {
        return node.public.clone();
    }
    if let Some(address) = recorded {
        return vec![address];
    }
    let host: Option<IpAddr> = node.ssh.host.parse().ok();
    let own = [Some(node.ip), node.ip6];
    match host.filter(|address| is_public(*address)) {
        // The host that SSH uses is one of the node's own addresses: the other one may be public, too.
        Some(host) if !own.contains(&Some(host)) => vec![host],
        _ => own.into_iter().flatten().filter(|address| is_public(*address)).collect(),
    }
}

/// Returns true if the address can be reached from everywhere, as far as it tells: it is neither of a private network nor
/// of this computer or link.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public4(address),
        IpAddr::V6(address) => is_public6(address),
    }
}

const fn is_public4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && second & 0b1100_0000 == 64;
    let special = first == 0 || first >= 224;
    !(address.is_private() || address.is_loopback() || address.is_link_local() || shared || special)
}

const fn is_public6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let local = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80;
    !(local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{as_relative, is_public, public_addresses, relative};
    use crate::{NodeName, fixtures};

    #[test]
    fn a_name_is_relative_to_its_zone() {
        for (name, expect) in [
            ("example.com", Some("@")),
            ("www.example.com", Some("www")),
            ("a.b.example.com", Some("a.b")),
            ("badexample.com", None),
            ("example.org", None),
            ("com", None),
        ] {
            assert_eq!(relative(name, "example.com").as_deref(), expect, "{name}");
        }
        assert_eq!(as_relative("www", "example.com"), "www");
        assert_eq!(as_relative("www.example.com", "example.com"), "www");
    }

    #[test]
    fn private_addresses_are_not_published_unless_they_are_written() {
        for address in ["10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "fd00::1", "fe80::1", "::1", "0.0.0.0"] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["203.0.113.7", "198.18.0.3", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let mut node = fixtures::three_member_etcd().nodes[&NodeName::parse("casper").unwrap()].clone();
        assert!(public_addresses(&node, None).is_empty());
        node.ssh.host = "203.0.113.7".to_owned();
        assert_eq!(public_addresses(&node, None), ["203.0.113.7".parse::<std::net::IpAddr>().unwrap()]);
        let recorded = "198.51.100.3".parse().unwrap();
        assert_eq!(public_addresses(&node, Some(recorded)), [recorded]);
        node.public = vec!["10.0.0.9".parse().unwrap()];
        assert_eq!(public_addresses(&node, Some(recorded)), node.public);
    }
}
