//! Responses of DigitalOcean, read leniently: only what machinist uses, unknown values as text, missing ones as none.

use serde::Deserialize;
use serde_json::Value;

/// Something with a slug that is either sold or not.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Region {
    pub slug: String,
    pub available: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Size {
    pub slug: String,
    #[serde(default)]
    pub vcpus: f64,
    /// In MB.
    #[serde(default)]
    pub memory: f64,
    #[serde(default)]
    pub disk: f64,
    #[serde(default)]
    pub price_hourly: f64,
    #[serde(default)]
    pub price_monthly: f64,
    #[serde(default)]
    pub regions: Vec<String>,
    #[serde(default)]
    pub available: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Image {
    pub slug: Option<String>,
    pub regions: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    pub droplet_limit: Option<u64>,
    pub status: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct SshKey {
    pub id: u64,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub public_key: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Vpc {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub ip_range: String,
    /// True for the one of its region that cannot be deleted: often the first.
    #[serde(default)]
    pub default: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Firewall {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub inbound_rules: Option<Vec<Rule>>,
    #[serde(default)]
    pub outbound_rules: Option<Vec<Rule>>,
    #[serde(default)]
    pub droplet_ids: Option<Vec<u64>>,
    #[serde(default)]
    pub tags: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rule {
    pub protocol: String,
    pub ports: Option<String>,
    /// Of an inbound rule.
    pub sources: Option<Peers>,
    /// Of an outbound rule.
    pub destinations: Option<Peers>,
}

/// Other ends of connections. What machinist does not write is kept as text, to see that it is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Peers {
    pub addresses: Option<Vec<String>>,
    #[serde(flatten)]
    pub others: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Droplet {
    pub id: u64,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub size_slug: String,
    #[serde(default)]
    pub region: Region,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub vpc_uuid: Option<String>,
    #[serde(default)]
    pub networks: Networks,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Networks {
    pub v4: Vec<Interface>,
    pub v6: Vec<Interface>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// `public` or `private`.
    #[serde(rename = "type")]
    pub kind: String,
    pub ip_address: String,
    /// Dotted for IPv4, a number of bits for IPv6.
    pub netmask: Value,
    pub gateway: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    pub name: String,
    pub droplet_ids: Vec<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReservedIp {
    pub ip: String,
    pub droplet: Option<Owner>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Owner {
    pub id: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tag {
    pub name: String,
    pub resources: TagResources,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TagResources {
    pub count: u64,
}

/// What the provider does in the background.
#[derive(Clone, Debug, Deserialize)]
pub struct Action {
    pub id: u64,
    #[serde(default)]
    pub status: String,
    /// What it does, such as `power_on`; in links, `rel`.
    #[serde(default, rename = "type", alias = "rel")]
    pub kind: String,
}
