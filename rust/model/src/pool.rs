//! Addresses that Services of type LoadBalancer get: ranges, written as networks or by their first and last address.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use serde::{Serialize, Serializer};

/// Addresses from a first to a last one, both included and of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Returns the first address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Returns the last address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Returns true if the addresses are IPv4 ones.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// Returns true if the range contains the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Returns true if the two ranges share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Returns true if all addresses are in the network.
    #[must_use]
    pub fn is_inside(&self, network: &IpNet) -> bool {
        network.contains(&self.first) && network.contains(&self.last)
    }

    /// Returns the networks that have exactly these addresses, in order: as few as possible.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns true if Services get at least one of the addresses: kube-vip-cloud-provider assigns no IPv4 address that
    /// ends with .0 or .255 (0.0.12).
    #[must_use]
    pub fn has_usable(&self) -> bool {
        let (IpAddr::V4(first), IpAddr::V4(last)) = (self.first, self.last) else { return true };
        // Of three consecutive addresses, at most two are such.
        (u32::from(first)..=u32::from(last)).take(3).any(|address| !matches!(address & 0xff, 0 | 0xff))
    }
}

impl From<IpNet> for AddressRange {
    fn from(network: IpNet) -> Self {
        let last = match network {
            IpNet::V4(network) => IpAddr::V4(network.broadcast()),
            IpNet::V6(network) => IpAddr::V6(network.broadcast()),
        };
        Self { first: network.network(), last }
    }
}

impl FromStr for AddressRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form =
            "it is neither a network, such as 10.13.101.0/24, nor a first and a last address with a hyphen between";
        if let Some((first, last)) = text.split_once('-') {
            let (Ok(first), Ok(last)) = (first.parse::<IpAddr>(), last.parse::<IpAddr>()) else { return Err(form) };
            return match (first.is_ipv4() == last.is_ipv4(), first <= last) {
                (false, _) => Err("its two addresses are of different families"),
                (true, false) => Err("its last address is before its first one, so it is empty"),
                (true, true) => Ok(Self { first, last }),
            };
        }
        let network: IpNet = text.parse().map_err(|_| form)?;
        if network.addr() != network.network() {
            return Err("it has bits set behind its prefix, so it is unclear whether an address or a range was meant");
        }
        Ok(network.into())
    }
}

/// With a hyphen, as kube-vip-cloud-provider reads it.
impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ipnet::IpNet;

    use super::AddressRange;

    #[track_caller]
    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_a_network_or_two_addresses() {
        for (text, written) in [
            ("10.13.101.0/24", "10.13.101.0-10.13.101.255"),
            ("10.13.101.7/32", "10.13.101.7-10.13.101.7"),
            ("10.13.101.10-10.13.101.12", "10.13.101.10-10.13.101.12"),
            ("fd00:1::/126", "fd00:1::-fd00:1::3"),
        ] {
            assert_eq!(range(text).to_string(), written);
        }
        for text in ["", "10.13.101.1", "10.13.101.1/24", "10.0.0.9-10.0.0.2", "10.0.0.1-fd00::1", "a-b", "10.0.0.1-"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_is_the_sum_of_its_networks() {
        let networks = |text: &str| range(text).networks().iter().map(IpNet::to_string).collect::<Vec<_>>();
        assert_eq!(networks("10.13.101.0/24"), ["10.13.101.0/24"]);
        assert_eq!(networks("10.0.0.3-10.0.0.8"), ["10.0.0.3/32", "10.0.0.4/30", "10.0.0.8/32"]);
        assert_eq!(networks("fd00::1-fd00::2"), ["fd00::1/128", "fd00::2/128"]);
        assert_eq!(networks("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
    }

    #[test]
    fn ranges_overlap_if_they_share_an_address() {
        let one = range("10.0.0.4-10.0.0.8");
        assert!(one.overlaps(&range("10.0.0.8-10.0.0.9")) && one.overlaps(&range("10.0.0.0/8")));
        assert!(!one.overlaps(&range("10.0.0.9-10.0.0.9")) && !one.overlaps(&range("::/0")));
    }

    #[test]
    fn addresses_that_no_service_gets_do_not_count() {
        assert!(range("10.0.0.255-10.0.1.1").has_usable() && range("fd00::/128").has_usable());
        assert!(!range("10.0.0.255-10.0.1.0").has_usable() && !range("10.0.0.0/32").has_usable());
    }
}
