//! MAC addresses of a server's interfaces, by which its own configuration finds them: no API tells them at a provider
//! without DHCP, so they are read on the server over the verified connection.

use std::net::IpAddr;

use machinist_model::FixedNetwork;
use machinist_remote::{Remote, Request};
use serde::Deserialize;

use crate::failure::{Failure, Kind};

/// Largest list of interfaces, in bytes.
const LARGEST: usize = 1 << 20;

/// An interface as `ip -json address` prints it (iproute2).
#[derive(Debug, Deserialize)]
struct Interface {
    #[serde(default)]
    address: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(default)]
    local: String,
}

/// Returns the network with the MAC addresses that are known of the same server.
pub fn keep(mut fixed: FixedNetwork, known: Option<&FixedNetwork>) -> FixedNetwork {
    if let Some(known) = known {
        fixed.public_mac = fixed.public_mac.or_else(|| known.public_mac.clone());
        fixed.private_mac = fixed.private_mac.or_else(|| known.private_mac.clone());
    }
    fixed
}

/// Reads the MAC addresses of the interfaces that have the server's addresses.
///
/// # Errors
/// The server does not tell them, or no interface has one of the addresses.
pub fn find(remote: &dyn Remote, fixed: &FixedNetwork) -> Result<FixedNetwork, Failure> {
    let node = remote.node();
    let mut request = Request::new("read interfaces", "PATH=$PATH:/usr/sbin:/sbin; ip -json address show");
    request.output_limit = LARGEST;
    let output = remote
        .run_checked(request)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    fill(&output.stdout, fixed).map_err(|address| {
        let message = format!("{node}: none of its interfaces has the address {address}");
        Failure::new(Kind::Failed, message).hint("wait until cloud-init has configured it, then run this again")
    })
}

/// Fills in the MAC addresses, or returns the address that no interface has.
fn fill(json: &[u8], fixed: &FixedNetwork) -> Result<FixedNetwork, IpAddr> {
    let interfaces: Vec<Interface> = serde_json::from_slice(json).unwrap_or_default();
    let mac = |address: IpAddr| {
        let has = |interface: &&Interface| {
            interface.addr_info.iter().any(|one| one.local.parse() == Ok(address)) && is_mac(&interface.address)
        };
        interfaces.iter().find(has).map(|interface| interface.address.to_ascii_lowercase()).ok_or(address)
    };
    let public = fixed.public.as_ref().or(fixed.public6.as_ref());
    Ok(FixedNetwork {
        public_mac: public.map(|public| mac(public.address)).transpose()?,
        private_mac: fixed.private.as_ref().map(|private| mac(private.address)).transpose()?,
        ..fixed.clone()
    })
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.len() == 6 && parts.iter().all(is_byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{FixedAddress, FixedNetwork};

    use super::{fill, keep};

    fn fixed() -> FixedNetwork {
        let address =
            |text: &str| Some(FixedAddress { address: text.parse().unwrap(), prefix_length: 24, gateway: None });
        FixedNetwork { public: address("203.0.113.5"), private: address("10.0.0.2"), ..FixedNetwork::default() }
    }

    fn interfaces(private: &str) -> String {
        serde_json::json!([
            { "ifname": "lo", "address": "00:00:00:00:00:00", "addr_info": [{ "family": "inet", "local": "127.0.0.1" }] },
            { "ifname": "eth0", "address": "AA:bb:cc:00:00:01", "addr_info": [
                { "family": "inet", "local": "203.0.113.5" }, { "family": "inet", "local": "10.19.0.5" },
            ] },
            { "ifname": "eth1", "address": private, "addr_info": [{ "family": "inet", "local": "10.0.0.2" }] },
            { "ifname": "tun0" },
        ])
        .to_string()
    }

    #[test]
    fn an_interface_is_found_by_the_address_that_the_provider_gave_it() {
        let found = fill(interfaces("aa:bb:cc:00:00:02").as_bytes(), &fixed()).unwrap();
        assert_eq!(found.public_mac.as_deref(), Some("aa:bb:cc:00:00:01"));
        assert_eq!(found.private_mac.as_deref(), Some("aa:bb:cc:00:00:02"));
        assert!(found.is_complete());
        // What is known of the same server stays.
        assert_eq!(keep(fixed(), Some(&found)), found);
    }

    #[test]
    fn what_a_server_says_is_no_nix_code() {
        for mac in ["aa:bb:cc:00:00:0\"", "${x}", "", "aa:bb:cc:00:00"] {
            assert_eq!(fill(interfaces(mac).as_bytes(), &fixed()).unwrap_err().to_string(), "10.0.0.2");
        }
        fill(b"no json", &fixed()).unwrap_err();
    }
}
