//! The `network` section.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::OneOrTwo;
use crate::{ControlBackend, OverlayBackend};

/// Address ranges. They must not overlap.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NetworkShape {
    /// The network of the nodes' own addresses, in CIDR notation. A list of two, one IPv4 and one IPv6, is dual stack.
    #[schemars(extend("x-required" = true, "x-example" = "\"10.13.13.0/24\""))]
    pub nodes: Option<OneOrTwo<IpNet>>,
    /// Accepts a node network that is not private, such as a provider's public range. Nodes open ports to all of it.
    #[schemars(extend("x-default" = "false", "x-example" = "true"))]
    pub allow_public_nodes: bool,
    /// The default gateway of nodes whose `interface` is set. An address inside `nodes`.
    #[schemars(extend("x-default" = "null", "x-example" = "\"10.13.13.1\""))]
    pub gateway: Option<IpAddr>,
    /// Name servers of the nodes, in the order of queries.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"10.13.13.1\" ]"))]
    pub nameservers: Vec<IpAddr>,
    /// The pods' range: a /24 (IPv6: a /64) of it for each node. A list of two is dual stack. The default applies to
    /// the orchestrators kubernetes and k3s; in an IPv6 cluster it is `"fd00:42::/48"`.
    #[schemars(extend("x-default" = "\"10.42.0.0/16\"", "x-example" = "\"10.42.0.0/16\""))]
    pub pods: Option<OneOrTwo<IpNet>>,
    /// The range of services' virtual addresses. A list of two is dual stack. The default applies to the orchestrators
    /// kubernetes and k3s; in an IPv6 cluster it is `"fd00:96::/112"`.
    #[schemars(extend("x-default" = "\"10.96.0.0/16\"", "x-example" = "\"10.96.0.0/16\""))]
    pub services: Option<OneOrTwo<IpNet>>,
    /// The address of the cluster's DNS, inside the first range of `services`.
    #[schemars(extend("x-default" = "the 10th address of services", "x-example" = "\"10.96.0.10\""))]
    pub dns: Option<IpAddr>,
    /// The overlay network between nodes.
    #[schemars(extend("x-default" = "null"))]
    pub overlay: Option<OverlayShape>,
    /// The control mesh: an encrypted network of the nodes' own, which carries their addresses. For nodes without a
    /// private network in common.
    #[schemars(extend("x-default" = "null"))]
    pub control: Option<ControlShape>,
}

/// The control mesh between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ControlShape {
    /// The program that carries packets: `"wireguard"` (in the kernel, by UDP only), `"tinc"` (a daemon; uses TCP where
    /// UDP is blocked, and other nodes as relays).
    #[schemars(extend("x-required" = true, "x-example" = "\"tinc\""))]
    pub backend: Option<ControlBackend>,
    /// The port of the mesh on each node: UDP, with tinc also TCP.
    #[schemars(extend("x-default" = "655 with tinc, 51821 with wireguard", "x-example" = "655"))]
    pub port: Option<u16>,
}

/// The overlay network between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OverlayShape {
    /// Transport of packets: `"wireguard"` (encrypted), `"vxlan"` (not encrypted), `"host-gw"` (plain routes, all nodes
    /// on one link).
    #[schemars(extend("x-required" = true, "x-example" = "\"wireguard\""))]
    pub backend: Option<OverlayBackend>,
    /// The overlay's range, with a subnet for each node. A mesh needs it, and there a node's subnet is derived from its address:
    /// the 5th address of `nodes` has the 5th subnet. Under Kubernetes the overlay carries `pods` without it.
    #[schemars(with = "Option<String>", extend("format" = "network", "x-default" = "null", "x-example" = "\"10.10.0.0/16\""))]
    pub network: Option<IpNet>,
}
