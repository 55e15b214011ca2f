//! Peers of an unauthenticated tunnel: the addresses whose packets a node's firewall accepts for the overlay.

use std::{collections::BTreeSet, net::IpAddr};

use machinist_model::{Cluster, OverlayBackend};

use crate::nix::{RelativePath, Value, WriteError};

/// The file in `generated/` with the addresses. One for all nodes: otherwise a cluster's facts would grow with the
/// square of its nodes.
pub const PEERS_FILE: &str = "_peers.nix";

/// Returns the addresses of all nodes in a VXLAN overlay, sorted; `None` without such an overlay.
pub(super) fn peers(cluster: &Cluster) -> Option<BTreeSet<IpAddr>> {
    let overlay = cluster.network.overlay.as_ref()?;
    let nodes = cluster
        .deployable()
        .filter(|node| cluster.runs_kubernetes(node) || cluster.runs_k3s(node) || cluster.overlay_part(node).is_some());
    let addresses: BTreeSet<IpAddr> = nodes.flat_map(|node| node.addresses().chain(node.ip6)).collect();
    (overlay.backend == OverlayBackend::Vxlan && !addresses.is_empty()).then_some(addresses)
}

/// Returns the path of the file, relative to a node's own.
pub(super) fn path() -> Result<Value, WriteError> {
    RelativePath::parse(&format!("./{PEERS_FILE}")).map(Value::Path)
}

#[cfg(test)]
mod tests {
    use machinist_model::fixtures;

    use super::peers;

    #[test]
    fn a_tunnel_without_authentication_is_open_to_its_peers_alone() {
        let machine = |host: u8, role: &str| serde_json::json!({ "ip": format!("10.13.13.{host}"), "roles": [role] });
        let of = |orchestrator: &str, backend: &str| {
            let json = serde_json::json!({
                "cluster": { "name": "x", "orchestrator": orchestrator, "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
                "network": { "nodes": "10.13.13.0/24", "overlay": { "backend": backend, "network": "10.10.0.0/16" } },
                "machines": { "etcd1": machine(2, "etcd"), "w1": machine(3, "worker"), "w2": machine(4, "ingress") },
            });
            let peers = peers(&fixtures::cluster(&json));
            peers.map(|peers| peers.iter().map(ToString::to_string).collect::<Vec<String>>().join(" "))
        };
        assert_eq!(of("mesh", "vxlan").as_deref(), Some("10.13.13.3 10.13.13.4"), "etcd members are not part of it");
        assert_eq!(of("mesh", "wireguard"), None);
    }
}
