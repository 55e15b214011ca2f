//! Bootstrap settings that cannot change while the cluster runs, as recorded in `state/cluster.json`. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{ApiEndpoint, Cluster, Control, NodeName, Orchestrator, OverlayBackend};

/// Recorded facts of the running cluster. A setting that older versions did not record is absent until the next deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// The cluster's name: etcd's token, and the label of every object that machinist manages.
    pub name: String,
    /// The orchestrator of the applications, or `None` for a fleet of single machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<Orchestrator>,
    /// The address of each voting member, at which the other members reach it.
    #[serde(default)]
    pub addresses: BTreeMap<NodeName, IpAddr>,
    /// The pods' ranges, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<IpNet>,
    /// The services' ranges, in the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<IpNet>,
    /// The address of the cluster's DNS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<IpAddr>,
    /// The DNS domain of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The API's endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// The overlay between the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<RunningOverlay>,
    /// The control mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

/// Recorded endpoint of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The virtual IP.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// The DNS name.
    pub name: String,
}

/// Recorded overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningOverlay {
    /// The transport of packets.
    pub backend: OverlayBackend,
    /// A mesh's range, and the node network that the subnets are derived from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<OverlayRanges>,
}

/// Ranges that determine the subnet of each node of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayRanges {
    /// The overlay's range.
    pub overlay: IpNet,
    /// The network of the nodes' own addresses.
    pub nodes: IpNet,
}

impl Running {
    /// Returns the settings to record for the cluster. `members` are the voters that etcd has at their addresses.
    #[must_use]
    pub fn of(cluster: &Cluster, members: &BTreeSet<NodeName>) -> Self {
        let voters = cluster.voters().filter(|node| members.contains(&node.name));
        Self {
            name: cluster.name.clone(),
            orchestrator: cluster.orchestrator,
            addresses: voters.map(|node| (node.name.clone(), node.ip)).collect(),
            pods: truncated(&cluster.network.pods),
            services: truncated(&cluster.network.services),
            dns: cluster.network.dns,
            domain: Some(cluster.domain.clone()),
            endpoint: cluster.kube_master.as_ref().map(Endpoint::of),
            overlay: RunningOverlay::of(cluster),
            control: cluster.network.control,
        }
    }
}

impl Endpoint {
    pub(crate) fn of(endpoint: &ApiEndpoint) -> Self {
        Self { ip: endpoint.ip, port: endpoint.port, name: endpoint.name.clone() }
    }
}

impl RunningOverlay {
    /// Returns the overlay of the cluster, with the backend that its orchestrator has by default.
    pub(crate) fn of(cluster: &Cluster) -> Option<Self> {
        let backend = cluster.network.overlay.as_ref().map(|overlay| overlay.backend);
        let ranges = cluster
            .mesh_overlay()
            .map(|range| OverlayRanges { overlay: IpNet::V4(range).trunc(), nodes: cluster.network.nodes.trunc() });
        let backend = match cluster.orchestrator? {
            Orchestrator::Kubernetes => backend.unwrap_or(OverlayBackend::Vxlan),
            Orchestrator::K3s => backend.unwrap_or(OverlayBackend::Wireguard),
            Orchestrator::Mesh => ranges.and(backend)?,
        };
        Some(Self { backend, ranges })
    }
}

/// Returns the networks in canonical form: two notations of one network are equal.
pub(crate) fn truncated(networks: &[IpNet]) -> Vec<IpNet> {
    networks.iter().map(IpNet::trunc).collect()
}
