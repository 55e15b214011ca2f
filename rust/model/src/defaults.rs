//! Default values of machines.nix.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    Orchestrator,
    shape::{ClusterShape, Shape},
};

/// The NixOS release.
pub const RELEASE: &str = "26.05";
/// The Nix system of machines.
pub const SYSTEM: &str = "x86_64-linux";
/// The port of the API endpoint, the usual one of kube-apiserver.
pub const API_PORT: u16 = 6443;
/// The name of the API endpoint.
pub const API_NAME: &str = "kubernetes";
/// The DNS domain of services and pods, the usual one of Kubernetes.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Minor versions of Kubernetes that a NixOS release supports. The kubelet of 25.11 is started with
/// `--pod-infra-container-image`, which Kubernetes 1.35 removed (kubernetes PR 133779).
pub const KUBERNETES_OF_RELEASES: [(&str, &[&str]); 2] =
    [("25.11", &["1.33", "1.34"]), ("26.05", &["1.34", "1.35", "1.36"])];
/// The image of CoreDNS, in the version that Kubernetes 1.36 is tested with (kubeadm's constants).
pub const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns:v1.14.2";
/// The number of CoreDNS replicas.
pub const COREDNS_REPLICAS: u16 = 2;
/// The image of the controller that assigns addresses to Services of type LoadBalancer.
pub const LOAD_BALANCER_IMAGE: &str = "ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12";
/// The class of the ingress controller: the one of k3s.
pub const INGRESS_CLASS: &str = "traefik";
/// The image of servers at Hetzner.
pub const HETZNER_IMAGE: &str = "debian-13";
/// The image of droplets at DigitalOcean.
pub const DIGITALOCEAN_IMAGE: &str = "debian-13-x64";
/// The port of SSH.
pub const SSH_PORT: u16 = 22;
/// The login name.
pub const SSH_USER: &str = "root";

/// The HTTP status that a gate's URL must return.
pub const GATE_STATUS: u16 = 200;
/// Time for which resolvers keep a DNS record, in seconds.
pub const DNS_TTL: u32 = 300;
/// Timeout of a gate, in seconds.
pub const GATE_TIMEOUT: u16 = 30;

/// Returns the minor versions of Kubernetes that the NixOS release supports, such as `1.36`; `None` for an unknown
/// release.
#[must_use]
pub fn kubernetes_of(release: &str) -> Option<&'static [&'static str]> {
    KUBERNETES_OF_RELEASES.iter().find(|(known, _)| *known == release).map(|(_, versions)| *versions)
}

/// Returns the domain of the nodes: as written, or derived from the cluster's name.
#[must_use]
pub fn domain(cluster: &ClusterShape, name: &str) -> String {
    cluster.domain.clone().unwrap_or_else(|| format!("{name}.internal"))
}

/// Returns the pods' ranges: as written, or the default of orchestrators that have pods.
#[must_use]
pub fn pods(shape: &Shape) -> Vec<IpNet> {
    // 10.42.0.0/16 is the default of k3s too.
    let written = shape.network.pods.as_ref().map(|networks| networks.0.as_slice());
    ranges(shape, written, "10.42.0.0/16", "fd00:42::/48")
}

/// Returns the services' ranges: as written, or the default of orchestrators that have services.
#[must_use]
pub fn services(shape: &Shape) -> Vec<IpNet> {
    // 10.96.0.0/16 is within kubeadm's default.
    let written = shape.network.services.as_ref().map(|networks| networks.0.as_slice());
    ranges(shape, written, "10.96.0.0/16", "fd00:96::/112")
}

fn ranges(shape: &Shape, written: Option<&[IpNet]>, v4: &str, v6: &str) -> Vec<IpNet> {
    if let Some(written) = written {
        return written.to_vec();
    }
    if !uses_pods(shape) {
        return Vec::new();
    }
    // The order is that of the node networks: the first family is the primary one.
    let nodes = shape.network.nodes.iter().flat_map(|nodes| nodes.iter());
    nodes.filter_map(|nodes| if nodes.addr().is_ipv4() { v4 } else { v6 }.parse().ok()).collect()
}

/// Returns true if the orchestrator assigns pods and services their own addresses.
#[must_use]
pub const fn uses_pods(shape: &Shape) -> bool {
    matches!(shape.cluster.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s))
}

/// Returns the address of the cluster's DNS: as written, or the 10th of the first service range, as in kubeadm.
#[must_use]
pub fn dns(shape: &Shape) -> Option<IpAddr> {
    shape.network.dns.or_else(|| services(shape).first().and_then(|range| nth_address(*range, 10)))
}

/// Returns the address `n` above the range's first one, if the range is large enough.
pub(crate) fn nth_address(range: IpNet, n: u8) -> Option<IpAddr> {
    let address = match range.network() {
        IpAddr::V4(first) => IpAddr::V4(u32::from(first).checked_add(n.into())?.into()),
        IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(n.into())?.into()),
    };
    range.contains(&address).then_some(address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::nth_address;

    #[test]
    fn the_tenth_address_is_counted_from_the_first_one() {
        let check = |range: &str, expect: Option<&str>| {
            let found = nth_address(range.parse().unwrap(), 10).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expect, "{range}");
        };
        check("10.96.0.0/16", Some("10.96.0.10"));
        check("10.96.0.77/16", Some("10.96.0.10"));
        check("fd00:96::/112", Some("fd00:96::a"));
        check("10.96.0.0/29", None);
        check("255.255.255.255/32", None);
    }
}
