//! The cluster as everything after the checks sees it. Values of these types hold what the checks promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{NodeName, Orchestrator, Role, defaults};

/// Labels: key to value, both valid Kubernetes label syntax, sorted by key.
pub type Labels = BTreeMap<String, String>;

/// A checked cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// The cluster's name, an RFC 1123 label.
    pub name: String,
    /// The DNS domain of the nodes, without a leading dot.
    pub domain: String,
    /// What runs the applications, or `None` for a fleet of single machines.
    pub orchestrator: Option<Orchestrator>,
    /// The NixOS release, `YY.MM`.
    pub release: String,
    /// Who may log in and decrypt, sorted by name.
    pub operators: Vec<Operator>,
    /// Address ranges.
    pub network: Network,
    /// The API endpoint, where there is one.
    pub kube_master: Option<ApiEndpoint>,
    /// Objects that machinist puts into the cluster.
    #[serde(skip_serializing_if = "Objects::is_empty")]
    pub objects: Objects,
    /// All known nodes, disabled ones and those that are not ours to deploy included.
    pub nodes: BTreeMap<NodeName, Node>,
}

/// A person who may log in to the nodes as root and decrypt the cluster's private keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The operator's name.
    pub name: String,
    /// The SSH public key, one OpenSSH line. Serves as an age recipient too if `age` is absent and it is ed25519 or RSA.
    pub ssh: Option<String>,
    /// The age recipient, `age1...`.
    pub age: Option<String>,
}

impl Operator {
    /// Returns whether private keys are encrypted to an RSA key of this operator.
    #[must_use]
    pub fn decrypts_with_rsa(&self) -> bool {
        self.age.is_none() && self.ssh.as_deref().is_some_and(|key| key.trim_start().starts_with("ssh-rsa "))
    }
}

/// What must hold on a node before a new system there is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// What is asked.
    pub test: GateTest,
    /// How many seconds it may take to open.
    pub timeout: u16,
}

/// What a gate asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateTest {
    /// A program and its arguments must exit with 0.
    Command(Vec<String>),
    /// A URL must answer with the status.
    Http {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
}

/// Address ranges of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The network of the nodes' own addresses; the IPv4 one where the cluster is dual stack, whatever the order in the
    /// file.
    pub nodes: IpNet,
    /// The IPv6 network of the nodes where the cluster is dual stack.
    pub nodes6: Option<IpNet>,
    /// The default gateway of the nodes, where machinist sets their addresses.
    pub gateway: Option<IpAddr>,
    /// Name servers of the nodes, in order.
    pub nameservers: Vec<IpAddr>,
    /// The pods' ranges: one, or two for dual stack.
    pub pods: Vec<IpNet>,
    /// The services' ranges: one, or two for dual stack.
    pub services: Vec<IpNet>,
    /// The cluster's DNS address, inside the first service range.
    pub dns: Option<IpAddr>,
    /// The overlay between nodes, where there is one.
    pub overlay: Option<Overlay>,
}

/// The overlay between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlay {
    /// How packets travel.
    pub backend: OverlayBackend,
    /// The overlay's range, where it has one of its own.
    pub network: Option<IpNet>,
}

/// How packets of the overlay travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OverlayBackend {
    /// WireGuard, encrypted.
    Wireguard,
    /// VXLAN, not encrypted.
    Vxlan,
    /// Plain routes; all nodes on one link.
    HostGw,
}

/// The address at which the API is reached from outside the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ApiEndpoint {
    /// The address.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
    /// The DNS name, also a SAN of the API servers.
    pub name: String,
    /// How the address reaches a control-plane node.
    pub vip: Vip,
}

/// How the virtual IP reaches a control-plane node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Vip {
    /// One node answers ARP or NDP for the address, elected by lease.
    Arp,
    /// Nodes announce the address to a Router by BGP.
    Bgp {
        /// The name of the Router's machine.
        gateway: NodeName,
        /// The AS number of the nodes.
        node_as: u32,
        /// The AS number of the Router.
        router_as: u32,
        /// Whether both sides show each other a password.
        password: bool,
    },
}

/// Objects that machinist puts into the cluster, beside those that it always needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// The cluster's DNS, where machinist runs it.
    pub coredns: Option<CoreDns>,
    /// Issuers of certificates for applications, where they are wanted.
    pub acme: Option<Acme>,
}

/// The cluster's DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoreDns {
    /// The image.
    pub image: String,
    /// How many of them run.
    pub replicas: u16,
    /// Name servers for names outside of the cluster; those of the node where there are none.
    pub upstream: Vec<IpAddr>,
}

/// Certificates for applications by ACME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acme {
    /// The account's address.
    pub email: String,
    /// The class of the ingress controller that answers challenges.
    pub ingress_class: String,
}

impl Objects {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.coredns.is_none() && self.acme.is_none()
    }
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The node's name.
    pub name: NodeName,
    /// The node's address in the node network; the IPv4 one where it has both.
    pub ip: IpAddr,
    /// The node's IPv6 address where it has both.
    pub ip6: Option<IpAddr>,
    /// Whether machinist deploys it. `false` for Routers and the like.
    pub nixos: bool,
    /// Whether it takes part. A disabled machine keeps its name and address reserved, nothing more.
    pub enable: bool,
    /// The Nix system, such as `x86_64-linux`.
    pub system: String,
    /// What it is for. Empty for machines that are not ours.
    pub roles: BTreeSet<Role>,
    /// The network interface that carries `ip`. If absent, machinist sets no address.
    pub interface: Option<String>,
    /// The disk that `install` erases.
    pub disk: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// Taints, `key=value:Effect`.
    pub taints: Vec<String>,
    /// What must hold on it before a new system is kept, by name.
    pub gates: BTreeMap<String, Gate>,
    /// Applications that run on it, names of folders of `app_modules/`.
    pub apps: Vec<String>,
    /// The AS number of a BGP Router.
    pub bgp_as: Option<u32>,
    /// Where it comes from.
    pub provider: Provider,
    /// How it is reached.
    pub ssh: Ssh,
    /// A k3s server that forms the cluster.
    pub cluster_init: bool,
}

/// Where a machine comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// A container on this computer.
    Sandbox,
    /// A machine of one's own, reached by SSH.
    SelfHosted,
    /// A server of Hetzner Cloud.
    Hetzner,
    /// A droplet of DigitalOcean.
    Digitalocean,
}

/// How a machine is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ssh {
    /// The host name or address; the node's `ip` unless said otherwise. The operator's SSH configuration applies to it.
    pub host: String,
    /// The TCP port to connect to; when it is not set, the SSH configuration's.
    pub port: Option<u16>,
    /// The login name; when it is not set, the SSH configuration's. Anyone but `root` needs password-less sudo.
    pub user: Option<String>,
}

impl Ssh {
    /// Returns the port on which the node's own sshd listens.
    pub fn listening_port(&self) -> u16 {
        self.port.unwrap_or(defaults::SSH_PORT)
    }

    /// Returns the login name for a command that a person is told to run.
    pub fn user_or_default(&self) -> &str {
        self.user.as_deref().unwrap_or(defaults::SSH_USER)
    }
}

impl Cluster {
    /// Returns the nodes that machinist deploys: enabled and NixOS, sorted by name.
    pub fn deployable(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.is_deployable())
    }

    /// Returns the deployable nodes that have the role, sorted by name.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.deployable().filter(move |node| node.roles.contains(&role))
    }

    /// Returns the voting members of etcd, sorted by name.
    pub fn etcd_members(&self) -> impl Iterator<Item = &Node> {
        self.with_role(Role::Etcd)
    }

    /// Returns the nodes that run pods or the control plane of Kubernetes, sorted by name. None under another orchestrator.
    pub fn kubernetes_nodes(&self) -> impl Iterator<Item = &Node> {
        self.deployable().filter(|node| self.runs_kubernetes(node))
    }

    /// Whether the node runs pods or the control plane of Kubernetes.
    #[must_use]
    pub fn runs_kubernetes(&self, node: &Node) -> bool {
        let is_kubernetes = self.orchestrator == Some(Orchestrator::Kubernetes);
        let roles = [Role::ControlPlane, Role::Ingress, Role::Worker];
        is_kubernetes && node.is_deployable() && roles.iter().any(|role| node.roles.contains(role))
    }

    /// Returns the nodes that vote in etcd, sorted by name: those with the role, or the servers of k3s, which run etcd inside.
    pub fn voters(&self) -> impl Iterator<Item = &Node> {
        let is_k3s = self.orchestrator == Some(Orchestrator::K3s);
        self.with_role(if is_k3s { Role::ControlPlane } else { Role::Etcd })
    }

    /// Whether the node is a server or an agent of k3s.
    #[must_use]
    pub fn runs_k3s(&self, node: &Node) -> bool {
        let roles = [Role::ControlPlane, Role::Ingress, Role::Worker];
        let is_k3s = self.orchestrator == Some(Orchestrator::K3s);
        is_k3s && node.is_deployable() && roles.iter().any(|role| node.roles.contains(role))
    }

    /// Returns the server of k3s that founds the cluster, to which all others come: the one with `clusterInit`, else the
    /// first by name. `None` under another orchestrator.
    #[must_use]
    pub fn k3s_founder(&self) -> Option<&Node> {
        if self.orchestrator != Some(Orchestrator::K3s) {
            return None;
        }
        self.voters().find(|node| node.cluster_init).or_else(|| self.voters().next())
    }

    /// Returns the nodes of the service mesh, sorted by name. None under another orchestrator.
    pub fn mesh_nodes(&self) -> impl Iterator<Item = &Node> {
        self.deployable().filter(|node| self.runs_mesh(node))
    }

    /// Whether the node takes part in the service mesh. A machine that is only a member of etcd keeps the mesh's data, and
    /// nothing runs there that would use it.
    #[must_use]
    pub fn runs_mesh(&self, node: &Node) -> bool {
        let is_mesh = self.orchestrator == Some(Orchestrator::Mesh);
        is_mesh && node.is_deployable() && node.roles.iter().any(|role| *role != Role::Etcd)
    }

    /// Returns the nodes that announce the virtual IP by BGP, sorted by name. None if nothing is announced.
    pub fn bgp_speakers(&self) -> impl Iterator<Item = &Node> {
        let has_api = matches!(self.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s));
        let is_bgp = self.kube_master.as_ref().is_some_and(|endpoint| matches!(endpoint.vip, Vip::Bgp { .. }));
        self.with_role(Role::ControlPlane).filter(move |_| has_api && is_bgp)
    }

    /// Whether the node is the Router of the virtual IP, and machinist deploys it.
    #[must_use]
    pub fn is_router(&self, node: &Node) -> bool {
        let gateway = self.kube_master.as_ref().and_then(|endpoint| match &endpoint.vip {
            Vip::Bgp { gateway, .. } => Some(gateway),
            Vip::Arp => None,
        });
        node.is_deployable() && gateway == Some(&node.name) && self.bgp_speakers().next().is_some()
    }

    /// Returns the addresses of the service `kubernetes`, one a service range: the first of the range, as the API server
    /// takes it.
    pub fn service_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.network.services.iter().filter_map(|range| defaults::nth_address(*range, 1))
    }

    /// Returns the node's fully qualified name.
    #[must_use]
    pub fn fqdn(&self, node: &NodeName) -> String {
        format!("{node}.{}", self.domain)
    }
}

impl Node {
    /// Returns the taints that it has as a node of Kubernetes: those of machines.nix; and a control plane that is neither
    /// worker nor ingress takes no pods but those that say so.
    #[must_use]
    pub fn kubernetes_taints(&self) -> Vec<String> {
        let own = "node-role.kubernetes.io/control-plane=:NoSchedule";
        let runs_pods = [Role::Ingress, Role::Worker].iter().any(|role| self.roles.contains(role));
        let is_reserved = self.roles.contains(&Role::ControlPlane) && !runs_pods;
        let own = (is_reserved && !self.taints.iter().any(|taint| taint == own)).then(|| own.to_owned());
        self.taints.iter().cloned().chain(own).collect()
    }

    /// Whether machinist deploys it.
    #[must_use]
    pub const fn is_deployable(&self) -> bool {
        self.nixos && self.enable
    }

    /// Returns the groups of the service mesh that the node reaches, sorted: ingress nodes reach frontends, workers what
    /// frontends use, and services each other.
    #[must_use]
    pub fn mesh_groups(&self) -> BTreeSet<&'static str> {
        let of_role = |role: &Role| -> &'static [&'static str] {
            match role {
                Role::Ingress => &["frontends"],
                Role::Service => &["services"],
                Role::Worker => &["backends", "services"],
                Role::Cache | Role::ControlPlane | Role::Etcd | Role::Registry => &[],
            }
        };
        self.roles.iter().flat_map(of_role).copied().collect()
    }
}
