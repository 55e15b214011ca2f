//! Responses of Hetzner Cloud, read leniently: only what machinist uses, unknown values as text, missing ones as none.
//!
//! The crate `hcloud` has types of the complete responses, whose enumerations are closed and whose fields are required:
//! one value that its document does not know, such as that of a primary IP without a server, fails a whole list.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{CloudError, cleaned};

/// Labels of a resource.
pub type Labels = BTreeMap<String, String>;

/// Pages of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Meta {
    pub pagination: Pagination,
}

/// Place in a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pagination {
    pub next_page: Option<u64>,
}

/// What the provider does in the background.
#[derive(Clone, Debug, Deserialize)]
pub struct Action {
    pub id: u64,
    #[serde(default)]
    pub command: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub error: Option<ActionError>,
}

/// Reason why an action failed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ActionError {
    pub code: String,
    pub message: String,
}

/// Something with an identifier, a name and labels.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    pub id: u64,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub labels: Labels,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SshKey {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub public_key: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Network {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub ip_range: String,
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    #[serde(default)]
    pub servers: Vec<u64>,
    #[serde(default)]
    pub load_balancers: Vec<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Subnet {
    pub ip_range: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Firewall {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub rules: Vec<Rule>,
    #[serde(default)]
    pub applied_to: Vec<Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rule {
    pub direction: String,
    pub protocol: String,
    pub port: Option<String>,
    pub source_ips: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub server_type: Name,
    #[serde(default)]
    pub location: Name,
    #[serde(default)]
    pub public_net: PublicNet,
    #[serde(default)]
    pub private_net: Vec<PrivateNet>,
    #[serde(default)]
    pub protection: Protection,
}

/// What the provider refuses to do with it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Protection {
    pub delete: bool,
}

/// Something of which only the name is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Name {
    pub name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PublicNet {
    pub ipv4: Option<Address>,
    pub ipv6: Option<Address>,
    pub firewalls: Vec<AppliedFirewall>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Address {
    pub ip: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AppliedFirewall {
    pub id: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PrivateNet {
    pub network: u64,
    pub ip: String,
    pub mac_address: String,
}

/// A volume or a floating IP.
#[derive(Clone, Debug, Deserialize)]
pub struct Attached {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub server: Option<u64>,
}

/// A primary IP. `assignee_type` is not read: it has had other values since 2026-08-01.
#[derive(Clone, Debug, Deserialize)]
pub struct PrimaryIp {
    #[serde(flatten)]
    pub named: Named,
    #[serde(default)]
    pub assignee_id: Option<u64>,
    #[serde(default)]
    pub auto_delete: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Location {
    pub name: String,
    #[serde(default)]
    pub network_zone: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ServerType {
    pub name: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub cores: f64,
    #[serde(default)]
    pub memory: f64,
    #[serde(default)]
    pub disk: f64,
    #[serde(default)]
    pub prices: Vec<PriceAt>,
    #[serde(default)]
    pub locations: Vec<TypeLocation>,
}

/// Availability of a type in a location. Types without the field are those of an API before 2026-04-01.
#[derive(Clone, Debug, Deserialize)]
pub struct TypeLocation {
    pub name: String,
    #[serde(default)]
    pub available: Option<bool>,
    #[serde(default)]
    pub deprecation: Option<Deprecation>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Deprecation {
    pub unavailable_after: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PriceAt {
    pub location: String,
    pub price_hourly: Money,
    pub price_monthly: Money,
}

/// A price as decimal text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Money {
    pub net: String,
}

impl Money {
    /// Returns the price without tax; zero if it is not a number.
    pub fn net(&self) -> f64 {
        self.net.parse().ok().filter(|net: &f64| net.is_finite()).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pricing {
    pub currency: String,
    pub primary_ips: Vec<PrimaryIpPrice>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PrimaryIpPrice {
    #[serde(rename = "type")]
    pub kind: String,
    pub prices: Vec<PriceAt>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Image {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub architecture: String,
}

/// Reads a value of a response.
pub fn read<T: for<'de> Deserialize<'de>>(request: &str, value: Value) -> Result<T, CloudError> {
    serde_json::from_value(value)
        .map_err(|error| CloudError::Shape { request: request.to_owned(), reason: cleaned(&error.to_string()) })
}
