//! Services of a cluster, and the machines that each needs.

use std::collections::BTreeSet;

use machinist_model::{Cluster, Node, NodeName, Orchestrator, Role, Vip, quorum::quorum};
use serde::Serialize;

/// Something that the cluster provides while enough machines are left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Service {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique in the cluster, such as `Kubernetes API`.
    pub name: String,
    /// All of these have to hold.
    pub needs: Vec<Need>,
}

/// Kind of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The quorum of etcd.
    Etcd,
    /// The API of Kubernetes, at any control plane.
    Api,
    /// The API at its virtual address.
    Endpoint,
    /// Machines that run pods.
    Pods,
    /// Machines that accept traffic from outside.
    Ingress,
    /// The gateway of the nodes' network.
    Gateway,
    /// Images of the role `registry`, or closures of the role `cache`.
    Store,
    /// An application of the service mesh. While one instance is left it is there; whether its own data has a majority
    /// then, machines.nix does not say.
    App,
}

/// Condition of a service: at least `least` of `of`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// What the machines are to it, such as `voters`.
    pub what: &'static str,
    /// The number of machines that have to be left.
    pub least: usize,
    /// The machines, sorted by name.
    pub of: BTreeSet<NodeName>,
}

impl Need {
    fn new<'a>(what: &'static str, least: usize, of: impl Iterator<Item = &'a Node>) -> Self {
        Self { what, least, of: of.map(|node| node.name.clone()).collect() }
    }

    /// Returns how many of its machines are left without the failed ones.
    #[must_use]
    pub fn left(&self, failed: &BTreeSet<NodeName>) -> usize {
        self.of.difference(failed).count()
    }
}

impl Service {
    /// Returns true if it is lost without the failed machines.
    #[must_use]
    pub fn is_lost(&self, failed: &BTreeSet<NodeName>) -> bool {
        self.needs.iter().any(|need| need.left(failed) < need.least)
    }

    /// Returns true if it stands without the failed machines, and one more failure could take it.
    #[must_use]
    pub fn is_last(&self, failed: &BTreeSet<NodeName>) -> bool {
        !self.is_lost(failed) && self.needs.iter().any(|need| need.left(failed) == need.least)
    }

    /// Returns the machines that it stands on, sorted by name.
    #[must_use]
    pub fn machines(&self) -> BTreeSet<&NodeName> {
        self.needs.iter().flat_map(|need| &need.of).collect()
    }
}

/// Returns what the cluster provides, as far as machines.nix says: the control plane first, applications last.
#[must_use]
pub fn services(cluster: &Cluster) -> Vec<Service> {
    let mut services = Vec::new();
    services.extend(etcd(cluster));
    services.extend(api(cluster));
    services.extend(endpoint(cluster));
    services.extend(pods(cluster));
    services.extend(of_role(cluster, Role::Ingress, Kind::Ingress, "ingress"));
    services.extend(gateway(cluster));
    services.extend(of_role(cluster, Role::Registry, Kind::Store, "images"));
    services.extend(of_role(cluster, Role::Cache, Kind::Store, "closures"));
    services.extend(apps(cluster));
    services
}

fn voters(cluster: &Cluster) -> Need {
    Need::new("voters", quorum(cluster.voters().count()), cluster.voters())
}

fn etcd(cluster: &Cluster) -> Option<Service> {
    let need = voters(cluster);
    (!need.of.is_empty()).then(|| Service { kind: Kind::Etcd, name: "etcd".to_owned(), needs: vec![need] })
}

/// An API server of ours asks every member of etcd, so it stands on the quorum and not on a particular member.
fn api(cluster: &Cluster) -> Option<Service> {
    let name = match cluster.orchestrator? {
        Orchestrator::Kubernetes | Orchestrator::K3s => "Kubernetes API".to_owned(),
        Orchestrator::Mesh => return None,
    };
    let planes = Need::new("control planes", 1, cluster.with_role(Role::ControlPlane));
    (!planes.of.is_empty()).then(|| Service { kind: Kind::Api, name, needs: vec![planes, voters(cluster)] })
}

/// The endpoint of an external load balancer is not ours to judge: it stands on the API, and on something unknown.
fn endpoint(cluster: &Cluster) -> Option<Service> {
    let endpoint = cluster.kube_master.as_ref()?;
    let mut needs = api(cluster)?.needs;
    if let Vip::Bgp { gateway, .. } = &endpoint.vip {
        needs.push(Need { what: "Router", least: 1, of: BTreeSet::from([gateway.clone()]) });
    }
    Some(Service { kind: Kind::Endpoint, name: format!("API at {}", endpoint.ip), needs })
}

fn pods(cluster: &Cluster) -> Option<Service> {
    let runs_pods = |node: &&Node| {
        let roles = [Role::Ingress, Role::Worker];
        let is_cluster = cluster.runs_kubernetes(node) || cluster.runs_k3s(node);
        is_cluster && roles.iter().any(|role| node.roles.contains(role))
    };
    let need = Need::new("machines", 1, cluster.deployable().filter(runs_pods));
    (!need.of.is_empty()).then(|| Service { kind: Kind::Pods, name: "pods".to_owned(), needs: vec![need] })
}

fn of_role(cluster: &Cluster, role: Role, kind: Kind, name: &str) -> Option<Service> {
    let need = Need::new("machines", 1, cluster.with_role(role));
    (!need.of.is_empty()).then(|| Service { kind, name: name.to_owned(), needs: vec![need] })
}

/// Only if the gateway is a machine of machines.nix.
fn gateway(cluster: &Cluster) -> Option<Service> {
    let address = cluster.network.gateway?;
    let is_gateway = |node: &&Node| node.enable && node.addresses().any(|own| own == address);
    let need = Need::new("Router", 1, cluster.nodes.values().filter(is_gateway));
    (!need.of.is_empty()).then(|| Service {
        kind: Kind::Gateway,
        name: format!("gateway {address}"),
        needs: vec![need],
    })
}

fn apps(cluster: &Cluster) -> impl Iterator<Item = Service> + '_ {
    let names: BTreeSet<&String> = cluster.mesh_nodes().flat_map(|node| &node.apps).collect();
    names.into_iter().map(|app| {
        let need = Need::new("instances", 1, cluster.mesh_nodes().filter(|node| node.apps.contains(app)));
        Service { kind: Kind::App, name: format!("app {app}"), needs: vec![need] }
    })
}
