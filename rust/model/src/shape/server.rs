//! Servers of clouds, as a machine of the `machines` section describes them.

use schemars::JsonSchema;
use serde::Deserialize;

/// A server of Hetzner Cloud that `machinist provision` creates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HetznerShape {
    /// The server type. `machinist provision --plan` prints its price, and alternatives if it is sold out.
    #[schemars(extend("x-required" = true, "x-example" = "\"cx23\""))]
    pub server_type: Option<String>,
    /// The location. All servers of a cluster are in one network zone: Falkenstein, Nuremberg and Helsinki share one.
    #[schemars(extend("x-required" = true, "x-example" = "\"nbg1\""))]
    pub location: Option<String>,
    /// The image that the server boots before `machinist install` replaces it.
    #[schemars(extend("x-default" = "\"debian-13\"", "x-example" = "\"ubuntu-24.04\""))]
    pub image: Option<String>,
    /// Gives the server a public IPv4 address, which Hetzner charges for. Without it, the operator and the server reach
    /// each other by IPv6.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub ipv4: bool,
    /// Gives the server a public IPv6 network.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub ipv6: bool,
}

/// A droplet of DigitalOcean that `machinist provision` creates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DigitaloceanShape {
    /// The slug of the size. `machinist provision --plan` prints its price, and alternatives if it cannot be had.
    #[schemars(extend("x-required" = true, "x-example" = "\"s-2vcpu-4gb\""))]
    pub size: Option<String>,
    /// The slug of the region. All droplets of a cluster are in one, because a VPC is.
    #[schemars(extend("x-required" = true, "x-example" = "\"fra1\""))]
    pub region: Option<String>,
    /// The slug of the image that the droplet boots before `machinist install` replaces it.
    #[schemars(extend("x-default" = "\"debian-13-x64\"", "x-example" = "\"ubuntu-24-04-x64\""))]
    pub image: Option<String>,
    /// Gives the droplet a public IPv6 network.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub ipv6: bool,
}

impl Default for DigitaloceanShape {
    fn default() -> Self {
        Self { size: None, region: None, image: None, ipv6: true }
    }
}

impl Default for HetznerShape {
    fn default() -> Self {
        Self { server_type: None, location: None, image: None, ipv4: true, ipv6: true }
    }
}
