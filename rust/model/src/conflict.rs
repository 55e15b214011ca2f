//! Changes in machines.nix that a rollout must not apply to the running cluster, each with the way to do it. Pure.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    Cluster, Control, Move, Node, NodeName, Orchestrator, OverlayBackend, RecordedState, Running,
    moving::{self, Command},
    running::{Endpoint, RunningOverlay, truncated},
};

/// Change in machines.nix that a rollout must not apply to the running cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Path in machines.nix, such as `machines.casper.ip`; `moving` for a move of a node that is not complete.
    pub path: String,
    /// The recorded value.
    pub running: String,
    /// The value of machines.nix.
    pub wanted: String,
    /// The alternative: an edit or a command.
    pub remedy: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.path, self.running, self.wanted)
    }
}

impl Conflict {
    /// Returns true if the conflict is about the address of a node.
    #[must_use]
    pub fn is_address(&self) -> bool {
        self.path.starts_with("machines.") && self.path.ends_with(".ip")
    }

    /// Returns the conflict if the values differ.
    fn of<T: PartialEq>(
        path: &str,
        running: &T,
        wanted: &T,
        text: impl Fn(&T) -> String,
        remedy: &str,
    ) -> Option<Self> {
        let differs = running != wanted;
        differs.then(|| Self {
            path: path.to_owned(),
            running: text(running),
            wanted: text(wanted),
            remedy: remedy.to_owned(),
        })
    }
}

impl RecordedState {
    /// Returns the changes in machines.nix that the running cluster cannot take. The cluster has the addresses of an
    /// unfinished move.
    #[must_use]
    pub fn conflicts(&self, cluster: &Cluster) -> Vec<Conflict> {
        let mut found = self.changes(cluster);
        found.extend(self.unfinished());
        found
    }

    /// Returns the conflicts that the command must not meet: all but a move that is unfinished, if the command is safe in
    /// its step.
    #[must_use]
    pub fn conflicts_with(&self, cluster: &Cluster, command: Command) -> Vec<Conflict> {
        let mut found = self.changes(cluster);
        found.extend(self.unsafe_move(command).and_then(|_| self.unfinished()));
        found
    }

    /// Returns the unfinished move, if the command is unsafe in its step.
    #[must_use]
    pub fn unsafe_move(&self, command: Command) -> Option<&Move> {
        self.moving.as_ref().filter(|moving| !command.is_safe_in(moving.step))
    }

    fn changes(&self, cluster: &Cluster) -> Vec<Conflict> {
        let mut found = Vec::new();
        if let Some(running) = self.running.as_ref().filter(|_| self.etcd.bootstrapped) {
            found.extend(of_settings(running, cluster));
        }
        found.extend(cluster.deployable().filter_map(|node| self.other_address(node, cluster)));
        found.extend(cluster.deployable().filter_map(|node| self.rename(node, cluster)));
        found
    }

    fn unfinished(&self) -> Option<Conflict> {
        let moving = self.moving.as_ref()?;
        let node = &moving.node;
        Some(Conflict {
            path: format!("moving {node}"),
            running: moving.from.to_string(),
            wanted: moving.to.to_string(),
            remedy: format!("{moving}, and has not arrived: {}", moving.continuation()),
        })
    }

    /// Returns the address that the node has in the running cluster, if it is recorded.
    #[must_use]
    pub fn address(&self, node: &NodeName) -> Option<IpAddr> {
        let running = self.running.as_ref().filter(|_| self.etcd.members.contains(node));
        match running.and_then(|running| running.addresses.get(node)) {
            Some(address) => Some(*address),
            None => self.machines.get(node)?.address,
        }
    }

    fn other_address(&self, node: &Node, cluster: &Cluster) -> Option<Conflict> {
        let running = self.address(&node.name)?;
        let is_member = self.etcd.members.contains(&node.name) && self.etcd.bootstrapped;
        let remedy = way_to_move(node, is_member, cluster);
        Conflict::of(&format!("machines.{}.ip", node.name), &running, &node.ip, IpAddr::to_string, &remedy)
    }

    /// Returns the conflict of a node that is another one's machine by its address: etcd, certificates and records
    /// know the machine by its former name.
    fn rename(&self, node: &Node, cluster: &Cluster) -> Option<Conflict> {
        if self.machines.contains_key(&node.name) || self.etcd.members.contains(&node.name) {
            return None;
        }
        let known = self.machines.keys().chain(&self.etcd.members);
        let gone = |name: &&NodeName| !cluster.nodes.contains_key(*name) && self.address(name) == Some(node.ip);
        let former = known.into_iter().find(gone)?;
        Some(Conflict {
            path: format!("machines.{}", node.name),
            running: former.to_string(),
            wanted: node.name.to_string(),
            remedy: self.way_to_rename(former, &node.name, cluster),
        })
    }

    fn way_to_rename(&self, former: &NodeName, new: &NodeName, cluster: &Cluster) -> String {
        let (leave, join) = match (self.etcd.members.contains(former), cluster.orchestrator) {
            (true, Some(Orchestrator::K3s)) => (
                format!(
                    "`k3s kubectl delete node {former}` at another server, without {former} in etcd.members and machines \
                     of state/cluster.json"
                ),
                format!("an empty disk and `machinist deploy {new}`"),
            ),
            (true, _) => (format!("`machinist node remove {former}`"), format!("`machinist node join {new}`")),
            (false, Some(Orchestrator::Kubernetes | Orchestrator::K3s)) => (
                format!("`machinist node remove {former}` and `kubectl delete node {former}`"),
                "`machinist deploy --all`".to_owned(),
            ),
            (false, _) => (format!("`machinist node remove {former}`"), "`machinist deploy --all`".to_owned()),
        };
        format!(
            "restore the recorded name {former}; a rename is a removal and a return: `machinist node drain {former}` where \
             it has a workload, without the machine in machines.nix {leave}, then with it as {new} `machinist certs gen` \
             and {join}"
        )
    }
}

fn way_to_move(node: &Node, is_member: bool, cluster: &Cluster) -> String {
    let name = &node.name;
    let Some(why) = moving::objection(cluster, node, is_member) else {
        return format!(
            "`machinist node readdress {name}` moves the running machine (--plan shows the steps); another machine at \
             the new address is installed: `machinist install {name}`"
        );
    };
    let way = match (is_member, cluster.orchestrator) {
        (true, Some(Orchestrator::K3s)) => format!(
            "on another server `k3s kubectl delete node {name}`, remove {name} from etcd.members and machines in \
             state/cluster.json, then give it the new address and an empty disk, and deploy it"
        ),
        (true, _) => format!(
            "remove its role \"etcd\", `machinist node remove {name}`, then give it the new address and the role again, \
             `machinist node join {name}`"
        ),
        (false, _) => format!(
            "`machinist node drain {name}` where it has a workload, without it in machines.nix `machinist node remove \
             {name}` and `machinist deploy --all`, then with the new address `machinist install {name}`"
        ),
    };
    format!("restore the recorded address: {why}; to move {name}: {way}")
}

/// Returns the conflicts of the settings of the whole cluster, in the order of machines.nix.
fn of_settings(running: &Running, cluster: &Cluster) -> Vec<Conflict> {
    let name = Conflict::of(
        "cluster.name",
        &running.name,
        &cluster.name,
        Clone::clone,
        "restore the recorded name: it is etcd's token and the label of the objects in Kubernetes",
    );
    let mut found: Vec<Conflict> = name.into_iter().collect();
    found.extend(other_orchestrator(running, cluster));
    found.extend(other_domain(running, cluster));
    found.extend(ranges(running, "network.pods", &running.pods, &truncated(&cluster.network.pods)));
    found.extend(ranges(running, "network.services", &running.services, &truncated(&cluster.network.services)));
    found.extend(other_dns(running, cluster));
    found.extend(other_overlay(running, cluster));
    found.extend(other_control(running, cluster));
    found.extend(other_endpoint(running, cluster));
    found
}

/// Returns the conflict of a changed orchestrator. A cluster without one may get one; otherwise etcd, certificates
/// and objects belong to the recorded one.
fn other_orchestrator(running: &Running, cluster: &Cluster) -> Option<Conflict> {
    let (running, wanted) = (running.orchestrator?, cluster.orchestrator?);
    Conflict::of(
        "cluster.orchestrator",
        &running,
        &wanted,
        |orchestrator| word(*orchestrator).to_owned(),
        "restore the recorded orchestrator: another one needs a new cluster",
    )
}

/// Returns the conflict of a changed domain, which is part of the API endpoint's name. Nothing else refers to it: other
/// clusters take it with a deploy.
fn other_domain(running: &Running, cluster: &Cluster) -> Option<Conflict> {
    let endpoint = cluster.kube_master.as_ref()?;
    let before = running.domain.as_ref()?;
    let remedy = format!(
        "restore the recorded domain: the API servers' certificates would no longer be valid for {}.{before}; once no client \
         uses that name, write the new domain into `running` of state/cluster.json, then `machinist certs gen` and \
         `machinist deploy --all`",
        endpoint.name
    );
    Conflict::of("cluster.domain", before, &cluster.domain, Clone::clone, &remedy)
}

/// Returns the conflict of a changed range: pods and services keep the addresses that they were created with.
/// Kubernetes accepts an additional range of the other family after the first (kubernetes.io, "IPv4/IPv6
/// dual-stack"); k3s does not (docs.k3s.io, "Basic Network Options").
fn ranges(of: &Running, path: &str, running: &[IpNet], wanted: &[IpNet]) -> Option<Conflict> {
    let extends = of.orchestrator == Some(Orchestrator::Kubernetes) && wanted.starts_with(running);
    if running.is_empty() || extends {
        return None;
    }
    Conflict::of(
        path,
        &running,
        &wanted,
        |networks| list(networks),
        "restore the recorded range: running pods keep their addresses, and the API servers' certificates contain the \
         first service address; another range needs a new cluster",
    )
}

fn other_dns(running: &Running, cluster: &Cluster) -> Option<Conflict> {
    let text = |address: &Option<IpAddr>| address.map_or_else(|| "none".to_owned(), |address| address.to_string());
    running.dns?;
    Conflict::of(
        "network.dns",
        &running.dns,
        &cluster.network.dns,
        text,
        "restore the recorded address: running pods resolve names there",
    )
}

/// Returns the conflict of a changed overlay. One that is added or removed is not a conflict (docs/guides/overlay.md).
fn other_overlay(running: &Running, cluster: &Cluster) -> Option<Conflict> {
    let before = running.overlay.as_ref()?;
    let wanted = RunningOverlay::of(cluster)?;
    let remedy = if before.ranges.is_some() {
        "restore the recorded overlay: nodes with different ones do not reach each other's instances. In four deploys of \
         all nodes: `machinist.overlay.carriesInstances = false;` in nodes/ for each, no network.overlay, the new one, and \
         without that line (docs/guides/changes.md)"
    } else {
        "restore the recorded backend: pods on nodes with different ones do not reach each other. If that may last until \
         all nodes are deployed, write it into `running.overlay` of state/cluster.json, then `machinist deploy --all`"
    };
    Conflict::of("network.overlay", before, &wanted, overlay_text, remedy)
}

fn overlay_text(overlay: &RunningOverlay) -> String {
    let backend = match overlay.backend {
        OverlayBackend::Wireguard => "wireguard",
        OverlayBackend::Vxlan => "vxlan",
        OverlayBackend::HostGw => "host-gw",
    };
    let ranges = overlay.ranges.map(|ranges| format!(" {} for nodes in {}", ranges.overlay, ranges.nodes));
    format!("{backend}{}", ranges.unwrap_or_default())
}

/// Returns the conflict of a control mesh that is added, removed, or carried by another program or port. The first node that
/// changes would reach no other one at its address, and the quorum would not let a second one change.
fn other_control(running: &Running, cluster: &Cluster) -> Option<Conflict> {
    let text = |control: &Option<Control>| match control {
        None => "none".to_owned(),
        Some(Control { backend, port }) => format!("{} port {port}", backend.as_str()),
    };
    Conflict::of(
        "network.control",
        &running.control,
        &cluster.network.control,
        text,
        "restore the recorded one: nodes with different ones do not reach each other, and etcd would lose its quorum. \
         Another one needs a new cluster: `machinist etcd snapshot`, and there `machinist etcd restore` \
         (docs/guides/control-mesh.md)",
    )
}

/// Returns the conflict of a changed API endpoint. A cluster without one may get one.
fn other_endpoint(running: &Running, cluster: &Cluster) -> Option<Conflict> {
    running.endpoint.as_ref()?;
    let wanted = cluster.kube_master.as_ref().map(Endpoint::of);
    let text = |endpoint: &Option<Endpoint>| match endpoint {
        None => "none".to_owned(),
        Some(endpoint) => format!("{} at {} port {}", endpoint.name, endpoint.ip, endpoint.port),
    };
    Conflict::of(
        "kubeMaster",
        &running.endpoint,
        &wanted,
        text,
        "restore the recorded endpoint: workers and kubeconfigs use it, and the certificates would no longer be valid for \
         it. If they may lose the API until they are deployed, write the new one into `running.endpoint` of \
         state/cluster.json, then `machinist certs gen`, `machinist deploy @control-plane`, `machinist deploy --all`",
    )
}

const fn word(orchestrator: Orchestrator) -> &'static str {
    match orchestrator {
        Orchestrator::Kubernetes => "kubernetes",
        Orchestrator::K3s => "k3s",
        Orchestrator::Mesh => "mesh",
    }
}

fn list(networks: &[IpNet]) -> String {
    if networks.is_empty() {
        return "none".to_owned();
    }
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
