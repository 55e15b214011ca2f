//! Validation of addresses from etcd: canonical notation, and routable between nodes only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the address in its canonical notation, or `None` if it does not identify one remote node: loopback,
/// unspecified, link-local, multicast and broadcast, also as an IPv4 address embedded in an IPv6 one.
pub fn usable(address: IpAddr) -> Option<IpAddr> {
    let canonical = address.to_canonical();
    let leads_elsewhere = match canonical {
        IpAddr::V4(address) => is_usable_v4(address),
        IpAddr::V6(address) => is_usable_v6(address) && embedded(address).is_none_or(is_usable_v4),
    };
    leads_elsewhere.then_some(canonical)
}

const fn is_usable_v4(address: Ipv4Addr) -> bool {
    // All of 0.0.0.0/8 is "this host on this network" (RFC 6890).
    address.octets()[0] != 0
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_multicast()
        && !address.is_broadcast()
}

const fn is_usable_v6(address: Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_unicast_link_local() && !address.is_multicast()
}

/// The IPv4 address in one of the forms that a translator or an old stack forwards as IPv4: IPv4-compatible (`::/96`),
/// NAT64 (`64:ff9b::/96`, RFC 6052) and 6to4 (`2002::/16`).
const fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [high, low] = match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => [high, low],
        _ => return None,
    };
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::usable;

    #[test]
    fn a_loopback_address_in_another_notation_is_no_instance() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "0:0:0:0:0:FFFF:7f00:0001",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:0.0.0.0",
            "169.254.169.254",
            "::ffff:169.254.0.1",
            "fe80::1",
            "febf::1",
            "224.0.0.1",
            "::ffff:224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert_eq!(usable(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn an_address_has_one_notation() {
        for (text, canonical) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("0:0:0:0:0:ffff:a00:1", "10.0.0.1"),
            ("FD77:9:0::9", "fd77:9::9"),
            ("2001:db8::1", "2001:db8::1"),
            ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
        ] {
            assert_eq!(usable(text.parse().unwrap()), Some(canonical.parse().unwrap()), "{text}");
        }
    }
}
