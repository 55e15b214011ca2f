//! The `dns` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::DnsProvider;

/// Records of a public DNS zone, which `machinist dns` keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DnsShape {
    /// Where the zone is: `"hetzner"` or `"digitalocean"`, with the same token as servers there. Leave it out if the zone
    /// is elsewhere: `machinist dns --zone-file` prints the records.
    #[schemars(extend("x-default" = "null", "x-example" = "\"hetzner\""))]
    pub provider: Option<DnsProvider>,
    /// The zone, which must exist at the provider.
    #[schemars(extend("x-required" = true, "x-example" = "\"example.com\""))]
    pub zone: Option<String>,
    /// Time for which resolvers keep a record, in seconds, 60 to 86400.
    #[schemars(extend("x-default" = "300", "x-example" = "3600"))]
    pub ttl: Option<u32>,
    /// Gives each machine a record: its name below `cluster.domain` if that is in the zone, otherwise directly in the
    /// zone.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub nodes: bool,
    /// Names that lead to all machines with the role `ingress`: those of `machinist.mesh.ingress.hosts`, or of Ingress
    /// objects. Relative to the zone, or in full; `@` is the zone itself, `*` any other name.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"@\" \"www\" ]"))]
    pub ingress: Vec<String>,
    /// More names. Each leads to addresses, and to the machines of targets as in commands: names, globs, `@role`,
    /// `label=value`.
    #[schemars(extend("x-default" = "{ }", "x-example" = "{ git = [ \"w1\" ]; vpn = [ \"203.0.113.9\" ]; }"))]
    pub records: BTreeMap<String, Vec<String>>,
}

impl Default for DnsShape {
    fn default() -> Self {
        Self { provider: None, zone: None, ttl: None, nodes: true, ingress: Vec::new(), records: BTreeMap::new() }
    }
}
