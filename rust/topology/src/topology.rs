//! Topology of a cluster: machines, services, networks and failures.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::{Cluster, NodeName, Orchestrator, OverlayBackend, Role, Vip};
use serde::Serialize;

use crate::{
    domain::{self, Division},
    failure::{self, Failure},
    service::{self, Kind, Service},
};

/// Topology of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    /// The cluster's name.
    pub cluster: String,
    /// Networks, outermost first.
    pub networks: Vec<Network>,
    /// Enabled machines, sorted by name.
    pub machines: Vec<Machine>,
    /// What the cluster provides.
    pub services: Vec<Tolerated>,
    /// Ways of traffic from outside, each a list of what it passes.
    pub paths: Vec<Vec<Stop>>,
    /// Divisions into failure domains, the one by machine first.
    pub divisions: Vec<Division>,
    /// Failures that take a service, or leave one without reserve.
    pub failures: Vec<Failure>,
    /// Health of the machines, if they were asked.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<NodeName, Health>,
}

/// Network of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// What it connects, such as `nodes`.
    pub name: String,
    /// Its range, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// The transport of its packets, if it is an overlay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
}

/// Machine of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its name.
    pub name: NodeName,
    /// Its address in the nodes' network.
    pub ip: String,
    /// Names of its roles, sorted.
    pub roles: Vec<&'static str>,
    /// True if machinist deploys it.
    pub deployed: bool,
}

/// Service, and what it tolerates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tolerated {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// How many domains may fail, whichever they are, before it is lost; in the order of the divisions.
    pub tolerates: Vec<usize>,
}

/// Stop on a way of traffic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Stop {
    /// Something outside of machines.nix, such as clients.
    Outside(String),
    /// A machine.
    Machine(NodeName),
    /// A service, by its name.
    Service(String),
}

impl Stop {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Outside(name) | Self::Service(name) => name,
            Self::Machine(name) => name.as_str(),
        }
    }
}

/// Health of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// True if no problem was found.
    pub healthy: bool,
    /// What is said of it, such as `up`: one line.
    pub says: String,
}

impl Topology {
    /// Computes the topology; `by` is a label that divides machines into failure domains, before all known ones.
    #[must_use]
    pub fn new(cluster: &Cluster, by: Option<&str>) -> Self {
        let services = service::services(cluster);
        let divisions = domain::divisions(cluster, by);
        let failures = divisions.iter().flat_map(|division| failure::failures(division, &services));
        let failures = failures.filter(|failure| !failure.lost.is_empty() || !failure.without_reserve.is_empty());
        let tolerated = |service: &Service| Tolerated {
            service: service.clone(),
            tolerates: divisions.iter().map(|division| failure::tolerance(service, division)).collect(),
        };
        Self {
            cluster: cluster.name.clone(),
            networks: networks(cluster),
            machines: machines(cluster),
            paths: paths(cluster, &services),
            failures: failures.collect(),
            services: services.iter().map(tolerated).collect(),
            divisions,
            health: BTreeMap::new(),
        }
    }

    /// Returns the division that pictures group machines by: the smallest place that holds several machines, or else
    /// the smallest one.
    #[must_use]
    pub fn grouping(&self) -> Option<&Division> {
        let places = || self.divisions.iter().skip(1);
        places().find(|division| division.domains.values().any(|nodes| nodes.len() > 1)).or_else(|| places().next())
    }
}

fn machines(cluster: &Cluster) -> Vec<Machine> {
    let enabled = cluster.nodes.values().filter(|node| node.enable);
    enabled
        .map(|node| Machine {
            name: node.name.clone(),
            ip: if node.awaits_address() { "no address yet".to_owned() } else { node.ip.to_string() },
            roles: node.roles.iter().map(|role| role.as_str()).collect(),
            deployed: node.is_deployable(),
        })
        .collect()
}

fn networks(cluster: &Cluster) -> Vec<Network> {
    let network = &cluster.network;
    let plain = |name: &str, range: String| Network { name: name.to_owned(), range: Some(range), transport: None };
    let mut networks = vec![plain("nodes", network.nodes.to_string())];
    networks.extend(network.nodes6.iter().map(|range| plain("nodes", range.to_string())));
    networks.extend(network.control.map(|control| Network {
        name: "control mesh".to_owned(),
        range: None,
        transport: Some(control.backend.as_str().to_owned()),
    }));
    networks.extend(network.overlay.as_ref().map(|overlay| Network {
        name: "overlay".to_owned(),
        range: overlay.network.map(|range| range.to_string()),
        transport: Some(transport(overlay.backend).to_owned()),
    }));
    if !matches!(cluster.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s)) {
        return networks;
    }
    networks.extend(network.pods.iter().map(|range| plain("pods", range.to_string())));
    networks.extend(network.services.iter().map(|range| plain("services", range.to_string())));
    networks
}

const fn transport(backend: OverlayBackend) -> &'static str {
    match backend {
        OverlayBackend::Wireguard => "WireGuard",
        OverlayBackend::Vxlan => "VXLAN",
        OverlayBackend::HostGw => "routes",
    }
}

/// Returns the ways of traffic: requests to the API, and requests to applications.
fn paths(cluster: &Cluster, services: &[Service]) -> Vec<Vec<Stop>> {
    let of = |kind: Kind| {
        let found = services.iter().filter(move |service| service.kind == kind);
        found.map(|service| Stop::Service(service.name.clone()))
    };
    let endpoint = cluster.kube_master.as_ref().filter(|_| of(Kind::Endpoint).next().is_some());
    let before = endpoint.and_then(|endpoint| match &endpoint.vip {
        Vip::Bgp { gateway, .. } => Some(Stop::Machine(gateway.clone())),
        Vip::External => Some(Stop::Outside("load balancer".to_owned())),
        Vip::Arp => None,
    });
    let api: Vec<Stop> = before.into_iter().chain(of(Kind::Endpoint)).chain(of(Kind::Api)).collect();
    let api = (!api.is_empty()).then(|| api.into_iter().chain(of(Kind::Etcd)).collect());
    let applications: Vec<Stop> = of(Kind::Pods).chain(behind_ingress(cluster, services)).collect();
    let ingress = of(Kind::Ingress).flat_map(|ingress| match applications.as_slice() {
        [] => vec![vec![ingress]],
        applications => applications.iter().map(|application| vec![ingress.clone(), application.clone()]).collect(),
    });
    let from_clients = |path: Vec<Stop>| std::iter::once(Stop::Outside("clients".to_owned())).chain(path).collect();
    api.into_iter().chain(ingress).map(from_clients).collect()
}

/// Returns the applications of the mesh that run on workers: those of services are reached by other applications only.
fn behind_ingress<'a>(cluster: &Cluster, services: &'a [Service]) -> impl Iterator<Item = Stop> + use<'a> {
    let workers: BTreeSet<NodeName> = cluster.with_role(Role::Worker).map(|node| node.name.clone()).collect();
    let apps = services.iter().filter(|service| service.kind == Kind::App);
    let behind = apps.filter(move |app| app.machines().iter().any(|node| workers.contains(*node)));
    behind.map(|app| Stop::Service(app.name.clone()))
}
