//! flannel's keys in the etcd of a service mesh: the overlay's configuration, and the nodes' subnet leases.
//!
//! Keys and values are flannel's own (flannel, `pkg/subnet/etcd/registry.go`, `pkg/lease/lease.go`).

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use machinist_model::{Cluster, OverlayBackend};
use serde::Deserialize;
use serde_json::{Value, json};

/// Prefix of all keys of flannel: its own default for `--etcd-prefix`.
pub const PREFIX: &str = "/coreos.com/network/";

/// Key of the overlay's configuration.
pub const CONFIG: &str = "/coreos.com/network/config";

/// Keepalive interval for NAT traversal, as WireGuard recommends (wireguard.com, "NAT and Firewall Traversal
/// Persistence").
const KEEPALIVE_SECONDS: u8 = 25;

/// The desired keys of the mesh's overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The value of [`CONFIG`].
    pub config: String,
    /// A node's underlay address to the key of its subnet.
    parts: BTreeMap<Ipv4Addr, String>,
}

/// The relevant part of a lease.
#[derive(Deserialize)]
struct Lease {
    #[serde(rename = "PublicIP")]
    public_ip: Option<Ipv4Addr>,
}

impl Overlay {
    /// Returns the overlay of the cluster's mesh, or `None` if it has none.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Option<Self> {
        let network = cluster.mesh_overlay()?;
        let mut parts = BTreeMap::new();
        let mut prefix = None;
        for node in cluster.mesh_nodes() {
            let (std::net::IpAddr::V4(ip), Some(part)) = (node.ip, cluster.overlay_part(node)) else { continue };
            prefix = Some(part.subnet.prefix_len());
            parts.insert(ip, key(part.subnet));
        }
        let backend = match cluster.network.overlay.as_ref()?.backend {
            // No `Mode`: with `ipv4` flannel 0.28 stops at its first peer, where it expects an IPv6 network that is
            // missing.
            OverlayBackend::Wireguard => {
                json!({ "PersistentKeepaliveInterval": KEEPALIVE_SECONDS, "Type": "wireguard" })
            }
            OverlayBackend::Vxlan => json!({ "Type": "vxlan" }),
            OverlayBackend::HostGw => json!({ "Type": "host-gw" }),
        };
        let config = json!({ "Backend": backend, "Network": network.to_string(), "SubnetLen": prefix? });
        Some(Self { config: config.to_string(), parts })
    }

    /// Returns the only key that the node with this address may write.
    #[must_use]
    pub fn key_of(&self, node: Ipv4Addr) -> Option<&str> {
        self.parts.get(&node).map(String::as_str)
    }

    /// Returns `true` if flannel interprets the configuration as the desired one.
    #[must_use]
    pub fn is_config(&self, found: &str) -> bool {
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        read(found).is_some_and(|found| read(&self.config) == Some(found))
    }

    /// Returns `true` if a lease conflicts: its node has another subnet, or its subnet belongs to another node. flannel
    /// would keep the former and wait for the latter. `gone` are addresses of nodes that have left the mesh.
    #[must_use]
    pub fn is_stale(&self, key: &str, value: &str, gone: &[Ipv4Addr]) -> bool {
        holder(key, value).is_some_and(|holder| match self.parts.get(&holder) {
            Some(own) => own != key,
            None => gone.contains(&holder) || self.parts.values().any(|part| part == key),
        })
    }

    /// Returns `true` if the lease belongs to a node of the mesh.
    #[must_use]
    pub fn is_ours(&self, key: &str, value: &str) -> bool {
        holder(key, value).is_some_and(|holder| self.parts.contains_key(&holder))
    }
}

/// The address of the node that holds the lease. `None` if the key is not a lease.
fn holder(key: &str, value: &str) -> Option<Ipv4Addr> {
    key.strip_prefix(PREFIX)?.strip_prefix("subnets/")?;
    serde_json::from_str::<Lease>(value).ok()?.public_ip
}

/// flannel writes a subnet with a hyphen instead of the slash.
fn key(subnet: Ipv4Net) -> String {
    format!("{PREFIX}subnets/{}-{}", subnet.network(), subnet.prefix_len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use machinist_model::fixtures;
    use serde_json::json;

    use super::Overlay;

    fn overlay(backend: &str) -> Overlay {
        let machine = |host: u8, role: &str| json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
        let cluster = fixtures::cluster(&json!({
            "cluster": { "name": "mesh", "orchestrator": "mesh", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
            "network": { "nodes": "10.13.13.0/24", "overlay": { "backend": backend, "network": "10.10.0.0/16" } },
            "machines": { "etcd1": machine(2, "etcd"), "w1": machine(3, "worker"), "w2": machine(4, "ingress") },
        }));
        Overlay::of(&cluster).unwrap()
    }

    #[test]
    fn the_configuration_is_flannels() {
        // tests/mesh/wireguard gives flannel the same files.
        macro_rules! file {
            ($backend:literal) => {
                ($backend, include_str!(concat!("../../../tests/mesh/guest-cluster/network/", $backend, ".json")))
            };
        }
        for (backend, config) in [file!("vxlan"), file!("host-gw"), file!("wireguard")] {
            assert_eq!(overlay(backend).config, config.trim_end());
        }
        assert!(
            overlay("vxlan")
                .is_config(r#"{ "SubnetLen": 24, "Network": "10.10.0.0/16", "Backend": {"Type": "vxlan"} }"#)
        );
        assert!(!overlay("vxlan").is_config("") && !overlay("vxlan").is_config(&overlay("host-gw").config));
    }

    #[test]
    fn each_node_has_the_key_of_its_own_part() {
        let overlay = overlay("vxlan");
        assert_eq!(overlay.key_of("10.13.13.3".parse().unwrap()), Some("/coreos.com/network/subnets/10.10.3.0-24"));
        assert_eq!(overlay.key_of("10.13.13.2".parse().unwrap()), None, "an etcd member has none");
    }

    #[test]
    fn conflicting_leases_are_distinguished_from_others() {
        let overlay = overlay("vxlan");
        let gone = ["10.13.13.9".parse().unwrap()];
        let stale = |subnet: &str, holder: &str| {
            let key = format!("/coreos.com/network/subnets/{subnet}-24");
            overlay.is_stale(&key, &format!(r#"{{"PublicIP":"{holder}","BackendType":"vxlan"}}"#), &gone)
        };
        assert!(!stale("10.10.3.0", "10.13.13.3"), "its own");
        assert!(stale("10.10.7.0", "10.13.13.3"), "another subnet than its own");
        assert!(stale("10.10.3.0", "192.0.2.1"), "the subnet of another node");
        assert!(stale("10.10.9.0", "10.13.13.9"), "of a removed node");
        assert!(overlay.is_ours("/coreos.com/network/subnets/10.10.3.0-24", r#"{"PublicIP":"10.13.13.3"}"#));
        assert!(!overlay.is_ours("/coreos.com/network/subnets/10.10.3.0-24", r#"{"PublicIP":"192.0.2.1"}"#));
        assert!(!stale("10.10.77.0", "192.0.2.1"), "of a machine that machines.nix does not have yet");
        assert!(!overlay.is_stale("/coreos.com/network/config", "{}", &gone));
        assert!(!overlay.is_stale("/coreos.com/network/subnets/10.10.3.0-24", "no JSON", &gone));
    }
}
