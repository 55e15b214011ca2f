//! Ranges of IPv4 addresses, and the lowest free one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A range without host bits: `10.0.0.0/16`.
pub fn range(text: &str) -> Option<Ipv4Net> {
    text.parse::<Ipv4Net>().ok().filter(|net| net.addr() == net.network())
}

/// True for a range within 10/8, 172.16/12 or 192.168/16.
pub fn is_private(net: &Ipv4Net) -> bool {
    net.network().is_private() && net.broadcast().is_private()
}

/// True if two ranges have an address in common.
pub fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(other) || other.contains(one)
}

/// The lowest address of a range that is neither its first two, its last, nor taken.
///
/// The first address names the range and the second is the gateway.
pub fn free(net: &Ipv4Net, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    net.hosts().skip(1).find(|address| !taken.contains(address))
}

/// The first usable address of a range, which is its gateway.
pub fn gateway(net: &Ipv4Net) -> Ipv4Addr {
    net.hosts().next().unwrap_or_else(|| net.network())
}

/// True for an IPv4 or IPv6 range without host bits.
pub fn is_source(text: &str) -> bool {
    text.parse::<ipnet::IpNet>().is_ok_and(|net| net.addr() == net.network())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::{free, is_source, range};

    #[test]
    fn the_gateway_and_taken_addresses_are_not_free() {
        let net = range("10.0.0.0/30").unwrap();
        assert_eq!(free(&net, &BTreeSet::new()).unwrap().to_string(), "10.0.0.2");
        assert_eq!(free(&net, &BTreeSet::from(["10.0.0.2".parse().unwrap()])), None);
    }

    #[test]
    fn host_bits_are_refused() {
        assert!(range("10.0.0.1/24").is_none());
        assert!(!is_source("192.0.2.1/24"));
        assert!(is_source("::/0"));
        assert!(is_source("192.0.2.1/32"));
    }
}
