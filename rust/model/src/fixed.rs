//! Addresses of a server whose provider has no DHCP, as `provision` records them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Addresses that a server must have from its own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FixedNetwork {
    /// Its public IPv4 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<FixedAddress>,
    /// Its public IPv6 address, on the same interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public6: Option<FixedAddress>,
    /// Its address in the private network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<FixedAddress>,
    /// MAC address of the public interface, read on the server: the API has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_mac: Option<String>,
    /// MAC address of the private interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_mac: Option<String>,
}

/// An address with its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FixedAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the network's prefix, in bits.
    pub prefix_length: u8,
    /// The default gateway. None: the interface has no default route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

impl FixedNetwork {
    /// Returns true if each interface is known by its MAC address.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.public_mac.is_some() && (self.private_mac.is_some() || self.private.is_none())
    }
}
