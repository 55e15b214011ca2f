//! The `kubeMaster` section.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

/// The address at which the Kubernetes API is reached from outside the control plane: a virtual IP (VIP).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct KubeMasterShape {
    /// The virtual IP. Not the address of a machine.
    #[schemars(extend("x-required" = true, "x-example" = "\"10.13.13.10\""))]
    pub ip: Option<IpAddr>,
    /// The TCP port, 1 to 65535.
    #[schemars(extend("x-default" = "6443", "x-example" = "6443"))]
    pub port: Option<u16>,
    /// The DNS name of the virtual IP, also a name in the API servers' certificates. Not the name of a machine.
    #[schemars(extend("x-default" = "\"kubernetes\"", "x-example" = "\"kubernetes\""))]
    pub name: Option<String>,
    /// How the virtual IP reaches a control plane: `"arp"` (one node answers for it, inside the node network), `"bgp"`
    /// (nodes announce it to a Router) or `"external"` (a load balancer that machinist does not manage has it, and forwards
    /// TCP to this port of the control planes).
    #[schemars(extend("x-default" = "bgp where gateway or as is set, otherwise arp", "x-example" = "\"bgp\""))]
    pub mode: Option<VipMode>,
    /// The Router to which nodes announce the virtual IP by BGP: the name of a machine, usually one with
    /// `nixos = false`, that has `bgp.as`.
    #[schemars(extend("x-default" = "null", "x-example" = "\"router\""))]
    pub gateway: Option<String>,
    /// The AS number of the nodes, for BGP: 1 to 4294967295; 64512 to 65534 are for private use.
    #[serde(rename = "as")]
    #[schemars(extend("x-default" = "null", "x-example" = "64512"))]
    pub node_as: Option<u32>,
    /// Authenticates the Router and the nodes to each other by a password in BGP (TCP MD5, RFC 2385). `machinist certs gen`
    /// makes the password, since this file is world-readable.
    #[schemars(extend("x-default" = "false", "x-example" = "true"))]
    pub bgp_password: bool,
}

/// How the virtual IP reaches a control-plane node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum VipMode {
    /// One node answers ARP or NDP for the address.
    Arp,
    /// Nodes announce the address to a Router.
    Bgp,
    /// A load balancer that machinist does not manage has the address.
    External,
}
