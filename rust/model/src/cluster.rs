//! Checked cluster, as all later stages see it. The values of these types satisfy every check.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AddressRange, NodeName, Orchestrator, Role, defaults,
    shape::{DiskFirmware, KeptFileSystem, RootFileSystem},
};

/// Labels: key to value, both valid Kubernetes label syntax, sorted by key.
pub type Labels = BTreeMap<String, String>;

/// A checked cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// The cluster's name, an RFC 1123 label.
    pub name: String,
    /// The DNS domain of the nodes, without a leading dot.
    pub domain: String,
    /// The orchestrator of the applications, or `None` for a fleet of single machines.
    pub orchestrator: Option<Orchestrator>,
    /// The NixOS release, `YY.MM`.
    pub release: String,
    /// Operators: they may log in and decrypt. Sorted by name.
    pub operators: Vec<Operator>,
    /// Address ranges, canonical and disjoint.
    pub network: Network,
    /// The API endpoint, if the cluster has one.
    pub kube_master: Option<ApiEndpoint>,
    /// The records of a public DNS zone, if machinist keeps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// Files of secrets, by their path below `secrets/`, each with the targets that decrypt it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, Vec<String>>,
    /// Objects that machinist puts into the cluster.
    #[serde(skip_serializing_if = "Objects::is_empty")]
    pub objects: Objects,
    /// All known nodes, including disabled ones and those that machinist does not deploy.
    pub nodes: BTreeMap<NodeName, Node>,
}

/// A person who may log in to the nodes as root and decrypt the cluster's private keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The operator's name.
    pub name: String,
    /// The SSH public key, one OpenSSH line. Also an age recipient if `age` is absent and the key is ed25519 or RSA.
    pub ssh: Option<String>,
    /// The age recipient, `age1...`.
    pub age: Option<String>,
}

impl Operator {
    /// Returns true if private keys are encrypted to an RSA key of this operator.
    #[must_use]
    pub fn decrypts_with_rsa(&self) -> bool {
        self.age.is_none() && self.ssh.as_deref().is_some_and(|key| key.trim_start().starts_with("ssh-rsa "))
    }
}

/// A condition that must hold on a node before a new system is kept there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// The condition.
    pub test: GateTest,
    /// Seconds until a gate that is still closed counts as failed, 1 to 600.
    pub timeout: u16,
}

/// The condition of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateTest {
    /// A program and its arguments must exit with 0.
    Command(Vec<String>),
    /// A URL must answer with the status.
    Http {
        /// `http://` or `https://`, requested on the node itself.
        url: String,
        /// The expected HTTP status, 100 to 599.
        status: u16,
    },
}

/// Address ranges of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The network of the nodes' own addresses; in a dual-stack cluster the IPv4 one, independent of the file's order.
    pub nodes: IpNet,
    /// The IPv6 network of the nodes in a dual-stack cluster.
    pub nodes6: Option<IpNet>,
    /// The default gateway of the nodes whose addresses machinist configures.
    pub gateway: Option<IpAddr>,
    /// Name servers of the nodes, in order of preference.
    pub nameservers: Vec<IpAddr>,
    /// The pods' ranges: one, or two for dual stack.
    pub pods: Vec<IpNet>,
    /// The services' ranges: one, or two for dual stack.
    pub services: Vec<IpNet>,
    /// The cluster's DNS address, inside the first service range.
    pub dns: Option<IpAddr>,
    /// The overlay between nodes, if there is one.
    pub overlay: Option<Overlay>,
    /// The control mesh that carries the nodes' addresses, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
}

/// Control mesh: an encrypted network of the nodes' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The program that carries packets.
    pub backend: ControlBackend,
    /// The port on each node.
    pub port: u16,
}

/// Program that carries the packets of a control mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ControlBackend {
    /// WireGuard, in the kernel.
    Wireguard,
    /// tinc 1.1, a daemon.
    Tinc,
}

impl ControlBackend {
    /// Returns the name, as in machines.nix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wireguard => "wireguard",
            Self::Tinc => "tinc",
        }
    }

    /// Returns the port that is used by default. 51820 is that of the overlay's own WireGuard.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Wireguard => 51821,
            Self::Tinc => 655,
        }
    }
}

/// Overlay network between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlay {
    /// The transport of packets.
    pub backend: OverlayBackend,
    /// The overlay's own range, if it has one.
    pub network: Option<IpNet>,
}

/// Transport of the overlay's packets.
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
    /// The virtual IP.
    pub ip: IpAddr,
    /// The TCP port, 1 to 65535.
    pub port: u16,
    /// The DNS name, also a SAN of the API servers.
    pub name: String,
    /// The mode in which the address reaches a control-plane node.
    pub vip: Vip,
}

/// The mode in which the virtual IP reaches a control-plane node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Vip {
    /// One node answers ARP or NDP for the address, elected by lease.
    Arp,
    /// A load balancer that machinist does not manage has the address, and forwards to the control planes.
    External,
    /// Nodes announce the address to a Router by BGP.
    Bgp {
        /// The name of the Router's machine.
        gateway: NodeName,
        /// The AS number of the nodes.
        node_as: u32,
        /// The AS number of the Router.
        router_as: u32,
        /// True if both sides of a session authenticate with a password (TCP MD5, RFC 2385).
        password: bool,
    },
}

/// Records of a public DNS zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// The provider of the zone; `None` if machinist has no API for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<DnsProvider>,
    /// The zone, in lower case, without a final dot.
    pub zone: String,
    /// Seconds, 60 to 86400.
    pub ttl: u32,
    /// True if each node has a record.
    pub nodes: bool,
    /// Names, relative to the zone, that lead to the nodes with the role `ingress`.
    pub ingress: Vec<String>,
    /// Names, relative to the zone, with their targets: addresses, or targets as in commands.
    pub records: BTreeMap<String, Vec<String>>,
}

/// Provider of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DnsProvider {
    /// Zones of Hetzner Cloud.
    Hetzner,
    /// Domains of DigitalOcean.
    Digitalocean,
}

/// Objects that machinist adds to the cluster, besides those that every cluster needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Objects {
    /// The cluster's DNS, if machinist runs it.
    pub coredns: Option<CoreDns>,
    /// Issuers of certificates for applications, if configured.
    pub acme: Option<Acme>,
    /// Addresses of Services of type LoadBalancer, if configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
}

/// The cluster's DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoreDns {
    /// The image reference, with a tag or digest.
    pub image: String,
    /// The number of replicas, 1 to 100.
    pub replicas: u16,
    /// Name servers for names outside the cluster; if empty, those of the node are used.
    pub upstream: Vec<IpAddr>,
}

/// Certificates for applications by ACME.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acme {
    /// The e-mail address of the account.
    pub email: String,
    /// The class of the ingress controller that answers challenges.
    pub ingress_class: String,
}

/// Addresses of Services of type LoadBalancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadBalancer {
    /// The ranges that addresses are taken from, disjoint, at least one.
    pub pool: Vec<AddressRange>,
    /// The image reference of the controller, with a tag or digest.
    pub image: String,
}

impl LoadBalancer {
    /// Returns the networks that have exactly the addresses of the pool.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        self.pool.iter().flat_map(AddressRange::networks).collect()
    }
}

impl Objects {
    /// Returns true if there are no such objects.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.coredns.is_none() && self.acme.is_none() && self.load_balancer.is_none()
    }
}

/// A machine of the cluster, under its name as a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The node's name.
    pub name: NodeName,
    /// The node's address in the node network; in a dual-stack cluster the IPv4 one.
    pub ip: IpAddr,
    /// The node's IPv6 address in a dual-stack cluster.
    pub ip6: Option<IpAddr>,
    /// The other address of a node that moves between two, from recorded state; never from machines.nix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_ip: Option<IpAddr>,
    /// True if machinist deploys it. `false` for Routers and other foreign machines.
    pub nixos: bool,
    /// False for a disabled machine: its name and address stay reserved, but it has no part in the cluster.
    pub enable: bool,
    /// The Nix system, such as `x86_64-linux`.
    pub system: String,
    /// The node's roles. Empty for machines that machinist does not deploy.
    pub roles: BTreeSet<Role>,
    /// The network interface that carries `ip`. If absent, machinist configures no address.
    pub interface: Option<String>,
    /// The disk that `install` erases, an absolute path; of a mirror the first one.
    pub disk: Option<String>,
    /// The layout of the disks, if machines.nix describes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_layout: Option<DiskLayout>,
    /// Labels for selectors and Kubernetes.
    pub labels: Labels,
    /// Kubernetes taints, `key=value:Effect` or `key:Effect`.
    pub taints: Vec<String>,
    /// Gates by name: all must open before a new system is kept.
    pub gates: BTreeMap<String, Gate>,
    /// Applications that run on it: names of folders of `app_modules/`.
    pub apps: Vec<String>,
    /// The AS number of a BGP Router.
    pub bgp_as: Option<u32>,
    /// The origin of the machine.
    pub provider: Provider,
    /// The server that `provision` creates at Hetzner, if the machine is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hetzner: Option<HetznerServer>,
    /// The droplet that `provision` creates at DigitalOcean, if the machine is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digitalocean: Option<DigitaloceanServer>,
    /// Public addresses that machines.nix names, for DNS records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub public: Vec<IpAddr>,
    /// The address or name at which other nodes reach it for the control mesh. None: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// SSH address, port and user.
    pub ssh: Ssh,
    /// True for the k3s server that forms the cluster.
    pub cluster_init: bool,
}

/// Layout of a machine's disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskLayout {
    /// Paths of the disks that `install` erases: one, or two that mirror each other.
    pub devices: Vec<String>,
    /// The root's file system.
    pub file_system: RootFileSystem,
    /// The firmware that it boots by.
    pub firmware: DiskFirmware,
    /// File systems that are kept, by mount point.
    pub keep: BTreeMap<String, KeptDisk>,
}

/// File system that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptDisk {
    /// Path of the disk or partition.
    pub device: String,
    /// Its file system.
    pub file_system: KeptFileSystem,
}

/// Origin of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// A container on this computer.
    Sandbox,
    /// An existing machine, reached by SSH.
    SelfHosted,
    /// A server of Hetzner Cloud.
    Hetzner,
    /// A droplet of DigitalOcean.
    Digitalocean,
}

/// Server of Hetzner Cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HetznerServer {
    /// The name of its type, such as `cx23`.
    pub server_type: String,
    /// The name of its location, such as `nbg1`.
    pub location: String,
    /// The name of the image that it is created from.
    pub image: String,
    /// True if it has a public IPv4 address.
    pub ipv4: bool,
    /// True if it has a public IPv6 network.
    pub ipv6: bool,
}

/// Droplet of DigitalOcean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DigitaloceanServer {
    /// The slug of its size, such as `s-2vcpu-4gb`.
    pub size: String,
    /// The slug of its region, such as `fra1`.
    pub region: String,
    /// The slug of the image that it is created from.
    pub image: String,
    /// True if it has a public IPv6 network.
    pub ipv6: bool,
    /// Its address in the VPC, from machines.nix or recorded state. None until `provision` has recorded the one that the
    /// provider gave; the node's `ip` is then a placeholder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// True if machines.nix has the address.
    #[serde(skip)]
    pub is_declared: bool,
}

/// SSH connection settings of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ssh {
    /// The host name or address; the node's `ip` by default. The operator's SSH configuration applies to it.
    pub host: String,
    /// The TCP port to connect to; if unset, that of the SSH configuration.
    pub port: Option<u16>,
    /// The login name; if unset, that of the SSH configuration. Any user other than `root` needs password-less sudo.
    pub user: Option<String>,
}

impl Ssh {
    /// Returns the port on which the node's own sshd listens.
    pub fn listening_port(&self) -> u16 {
        self.port.unwrap_or(defaults::SSH_PORT)
    }

    /// Returns the login name for commands in hints.
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

    /// Returns the nodes that run pods or the control plane of Kubernetes, sorted by name; none under another
    /// orchestrator.
    pub fn kubernetes_nodes(&self) -> impl Iterator<Item = &Node> {
        self.deployable().filter(|node| self.runs_kubernetes(node))
    }

    /// Returns true if the node runs pods or the control plane of Kubernetes.
    #[must_use]
    pub fn runs_kubernetes(&self, node: &Node) -> bool {
        let is_kubernetes = self.orchestrator == Some(Orchestrator::Kubernetes);
        let roles = [Role::ControlPlane, Role::Ingress, Role::Worker];
        is_kubernetes && node.is_deployable() && roles.iter().any(|role| node.roles.contains(role))
    }

    /// Returns the nodes that vote in etcd, sorted by name: those with the role, or the servers of k3s, which run etcd
    /// inside.
    pub fn voters(&self) -> impl Iterator<Item = &Node> {
        let is_k3s = self.orchestrator == Some(Orchestrator::K3s);
        self.with_role(if is_k3s { Role::ControlPlane } else { Role::Etcd })
    }

    /// Returns true if the node is a server or an agent of k3s.
    #[must_use]
    pub fn runs_k3s(&self, node: &Node) -> bool {
        let roles = [Role::ControlPlane, Role::Ingress, Role::Worker];
        let is_k3s = self.orchestrator == Some(Orchestrator::K3s);
        is_k3s && node.is_deployable() && roles.iter().any(|role| node.roles.contains(role))
    }

    /// Returns the k3s server that forms the cluster and that all others join: the one with `clusterInit`, otherwise
    /// the first by name. `None` under another orchestrator.
    #[must_use]
    pub fn k3s_founder(&self) -> Option<&Node> {
        if self.orchestrator != Some(Orchestrator::K3s) {
            return None;
        }
        self.voters().find(|node| node.cluster_init).or_else(|| self.voters().next())
    }

    /// Returns the nodes of the service mesh, sorted by name; none under another orchestrator.
    pub fn mesh_nodes(&self) -> impl Iterator<Item = &Node> {
        self.deployable().filter(|node| self.runs_mesh(node))
    }

    /// Returns true if the node takes part in the service mesh. A machine that is only an etcd member stores the mesh's
    /// data, but runs nothing that uses it.
    #[must_use]
    pub fn runs_mesh(&self, node: &Node) -> bool {
        let is_mesh = self.orchestrator == Some(Orchestrator::Mesh);
        is_mesh && node.is_deployable() && node.roles.iter().any(|role| *role != Role::Etcd)
    }

    /// Returns the nodes that announce the virtual IP by BGP, sorted by name; none if it is not announced.
    pub fn bgp_speakers(&self) -> impl Iterator<Item = &Node> {
        let has_api = matches!(self.orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s));
        let is_bgp = self.kube_master.as_ref().is_some_and(|endpoint| matches!(endpoint.vip, Vip::Bgp { .. }));
        self.with_role(Role::ControlPlane).filter(move |_| has_api && is_bgp)
    }

    /// Returns true if control planes hold or announce the virtual IP themselves.
    #[must_use]
    pub fn has_own_vip(&self) -> bool {
        self.kube_master.as_ref().is_some_and(|endpoint| endpoint.vip != Vip::External)
    }

    /// Returns true if the node is the Router of the virtual IP and machinist deploys it.
    #[must_use]
    pub fn is_router(&self, node: &Node) -> bool {
        let gateway = self.kube_master.as_ref().and_then(|endpoint| match &endpoint.vip {
            Vip::Bgp { gateway, .. } => Some(gateway),
            Vip::Arp | Vip::External => None,
        });
        node.is_deployable() && gateway == Some(&node.name) && self.bgp_speakers().next().is_some()
    }

    /// Returns the addresses of the service `kubernetes`, one per service range: the first of the range, as the API
    /// server assigns it.
    pub fn service_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.network.services.iter().filter_map(|range| defaults::nth_address(*range, 1))
    }

    /// Returns the nodes of the control mesh, sorted by name; none without one.
    pub fn control_nodes(&self) -> impl Iterator<Item = &Node> {
        self.deployable().filter(|_| self.network.control.is_some())
    }

    /// Returns the node's fully qualified name.
    #[must_use]
    pub fn fqdn(&self, node: &NodeName) -> String {
        format!("{node}.{}", self.domain)
    }
}

impl Node {
    /// Returns true if `provision` creates its machine.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        self.hetzner.is_some() || self.digitalocean.is_some()
    }

    /// Returns true if its address is not known before `provision` has created its server.
    #[must_use]
    pub fn awaits_address(&self) -> bool {
        self.is_deployable() && self.digitalocean.as_ref().is_some_and(|server| server.address.is_none())
    }

    /// Returns the node's taints in Kubernetes: those of machines.nix, and for a control plane that is neither worker
    /// nor ingress a taint that only tolerating pods pass.
    #[must_use]
    pub fn kubernetes_taints(&self) -> Vec<String> {
        let own = "node-role.kubernetes.io/control-plane=:NoSchedule";
        let runs_pods = [Role::Ingress, Role::Worker].iter().any(|role| self.roles.contains(role));
        let is_reserved = self.roles.contains(&Role::ControlPlane) && !runs_pods;
        let own = (is_reserved && !self.taints.iter().any(|taint| taint == own)).then(|| own.to_owned());
        self.taints.iter().cloned().chain(own).collect()
    }

    /// Returns the addresses at which the node may be met: its own, and both while it moves.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.ip).chain(self.second_ip)
    }

    /// Returns true if machinist deploys the node: enabled and NixOS.
    #[must_use]
    pub const fn is_deployable(&self) -> bool {
        self.nixos && self.enable
    }

    /// Returns the groups of the service mesh that the node reaches, sorted: ingress nodes reach frontends, workers
    /// reach backends and services, and services reach each other.
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
