//! What exists at a provider, and what it offers. Values of the provider are data: unknown ones are kept as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;
use machinist_model::{FixedNetwork, NodeName};
use serde::Serialize;

use crate::desired::Rule;

/// Identifier of a thing at its provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Id(pub String);

/// Things of the cluster, found by label, and the names that others have taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// SSH keys of the project by `ALGORITHM BASE64`, ours or not: a key exists once in a project.
    pub keys: BTreeMap<String, Found>,
    /// The private network.
    pub network: Option<FoundNetwork>,
    /// Groups by name.
    pub groups: BTreeMap<String, Found>,
    /// Firewalls by name.
    pub firewalls: BTreeMap<String, FoundFirewall>,
    /// Servers of the cluster.
    pub servers: Vec<FoundServer>,
    /// Servers in the project that are not the cluster's, by name.
    pub foreign: BTreeMap<String, Id>,
    /// Addresses in the cluster's network, with the names of the servers that have them.
    pub taken: BTreeMap<Ipv4Addr, String>,
    /// Things of others that have a name which the cluster needs, each as `KIND NAME`.
    pub occupied: BTreeSet<String>,
    /// Volumes and addresses that stay when their server is deleted, and cost.
    pub leftovers: Vec<Leftover>,
}

/// A thing that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// True if it has the cluster's label.
    pub ours: bool,
}

/// A network that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundNetwork {
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Its range.
    pub range: Option<Ipv4Net>,
    /// Ranges of its subnets.
    pub subnets: Vec<Ipv4Net>,
    /// Number of servers and load balancers in it, those of others included.
    pub members: usize,
}

/// A firewall that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFirewall {
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// What it lets in from any address. None: it has rules that machinist would not make.
    pub rules: Option<BTreeSet<Rule>>,
    /// Number of servers and selectors that it is applied to, those of others included.
    pub members: usize,
}

/// A server that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundServer {
    /// Its identifier.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Its node, by label.
    pub node: Option<NodeName>,
    /// Its type.
    pub server_type: String,
    /// Its location.
    pub location: String,
    /// True if it is switched on, or about to be.
    pub on: bool,
    /// True if the provider is deleting it.
    pub ending: bool,
    /// True if the provider refuses to delete it.
    pub protected: bool,
    /// Digest of the host key that it was created with, by label.
    pub first_key: Option<String>,
    /// Its state in the provider's words.
    pub state: String,
    /// Its public IPv4 address.
    pub ipv4: Option<IpAddr>,
    /// An address of its public IPv6 network: the first host.
    pub ipv6: Option<IpAddr>,
    /// Its interfaces in private networks.
    pub private: Vec<PrivateInterface>,
    /// Its firewalls.
    pub firewalls: BTreeSet<Id>,
    /// Addresses that its own configuration has to have, if the provider has no DHCP.
    pub fixed: Option<FixedNetwork>,
}

/// A server's interface in a private network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateInterface {
    /// The network.
    pub network: Id,
    /// The address.
    pub ip: Ipv4Addr,
    /// The MAC address, by which the interface is found: its name in Linux is not stable. None where the API has none.
    pub mac: Option<String>,
}

/// Something that remains after its server is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// Its kind: `volume`, `primary IP`, `floating IP`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The server that has it.
    #[serde(skip)]
    pub server: Option<Id>,
}

/// What a provider offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// Currency of the prices.
    pub currency: String,
    /// Types of servers.
    pub types: Vec<ServerType>,
    /// Locations by name, each with its network zone.
    pub locations: BTreeMap<String, String>,
    /// Price of a public IPv4 address by location.
    pub ipv4: BTreeMap<String, Price>,
    /// Images by name and architecture.
    pub images: BTreeSet<(String, String)>,
    /// Servers that the account may have more, and may have at all, if the provider tells.
    pub room: Option<Room>,
}

/// Limit of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Most servers.
    pub limit: u64,
    /// Servers that exist, those of others included.
    pub used: u64,
}

/// A type of servers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerType {
    /// Its name.
    pub name: String,
    /// Its architecture in the words of Nix, such as `x86_64-linux`.
    pub system: String,
    /// Number of cores.
    pub cores: u64,
    /// Memory, in GB.
    pub memory: f64,
    /// Disk, in GB.
    pub disk: u64,
    /// Where it can be had.
    pub offers: Vec<Offer>,
}

/// A type of servers in a location.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// The location.
    pub location: String,
    /// The price.
    pub price: Price,
    /// False if it is sold out, or no longer sold.
    pub available: bool,
    /// Date after which none can be created, if that is announced.
    pub until: Option<String>,
}

/// Price without tax.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Price {
    /// For an hour.
    #[serde(serialize_with = "rounded")]
    pub hourly: f64,
    /// For a month, at which the hours are capped.
    #[serde(serialize_with = "rounded")]
    pub monthly: f64,
}

/// Sums of decimal fractions get digits that no price has.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn rounded<S: serde::Serializer>(price: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((price * 1e4).round() / 1e4)
}

impl std::ops::Add for Price {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { hourly: self.hourly + other.hourly, monthly: self.monthly + other.monthly }
    }
}

impl std::iter::Sum for Price {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        prices.fold(Self::default(), |sum, price| sum + price)
    }
}

impl FoundServer {
    /// Returns the address at which an operator reaches the server.
    #[must_use]
    pub fn public(&self) -> Option<IpAddr> {
        self.ipv4.or(self.ipv6)
    }
}
