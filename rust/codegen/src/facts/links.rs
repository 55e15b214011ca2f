//! Interfaces of a server whose provider has no DHCP, with the addresses that `provision` recorded. They are found by their
//! MAC addresses: names of interfaces depend on the kernel and the virtual hardware.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_model::{FixedAddress, FixedNetwork};

use crate::nix::{Attributes, Value, set};

/// Returns each interface by its MAC address. One whose MAC address is not known is left out.
pub fn facts(fixed: &FixedNetwork) -> Attributes {
    let mut links: BTreeMap<&str, Vec<&FixedAddress>> = BTreeMap::new();
    let public = [&fixed.public, &fixed.public6].map(|address| (&fixed.public_mac, address));
    for (mac, address) in public.into_iter().chain([(&fixed.private_mac, &fixed.private)]) {
        if let (Some(mac), Some(address)) = (mac, address) {
            links.entry(mac).or_default().push(address);
        }
    }
    links.into_iter().map(|(mac, addresses)| (mac.to_owned(), link(&addresses).into())).collect()
}

fn link(addresses: &[&FixedAddress]) -> Attributes {
    let all: Value = addresses.iter().map(|one| format!("{}/{}", one.address, one.prefix_length)).collect();
    let gateways: Value =
        addresses.iter().filter_map(|one| one.gateway).map(|gateway: IpAddr| gateway.to_string()).collect();
    set([("addresses", all), ("gateways", gateways)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use machinist_model::{FixedAddress, FixedNetwork};

    use super::facts;
    use crate::nix;

    fn address(address: &str, prefix_length: u8, gateway: Option<&str>) -> Option<FixedAddress> {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        Some(FixedAddress { address: address.parse().unwrap(), prefix_length, gateway })
    }

    #[test]
    fn each_interface_has_its_addresses_and_only_the_public_one_a_gateway() {
        let mut fixed = FixedNetwork {
            public: address("203.0.113.5", 20, Some("203.0.113.1")),
            public6: address("2001:db8::5", 64, Some("2001:db8::1")),
            private: address("10.0.0.2", 24, None),
            public_mac: Some("aa:00:00:00:00:01".to_owned()),
            private_mac: Some("aa:00:00:00:00:02".to_owned()),
        };
        expect![[r#"
            # x
            {
              "aa:00:00:00:00:01" = {
                addresses = [
                  "203.0.113.5/20"
                  "2001:db8::5/64"
                ];
                gateways = [
                  "203.0.113.1"
                  "2001:db8::1"
                ];
              };
              "aa:00:00:00:00:02" = {
                addresses = [ "10.0.0.2/24" ];
                gateways = [ ];
              };
            }
        "#]]
        .assert_eq(&nix::file("x", &facts(&fixed).into()).unwrap());
        fixed.private_mac = None;
        assert_eq!(facts(&fixed).len(), 1);
    }
}
