//! Input of a deploy: its targets, the cluster around them, the policy, and the connections and records to use.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use machinist_etcd::permissions::Rules;
use machinist_model::NodeName;
use machinist_nix::Nix;

use super::datastore::Datastore;
use crate::{
    Events,
    fan_out::FanOut,
    identity::Known,
    journal::Journal,
    lock::{Electorate, Keeper},
    plan::PlanFile,
    step::{Connector, activate::Bounds, keys::Key},
    target::{Target, Traits},
    waves::Spread,
};

/// Decrypts private keys of a node, by file name. Called only for keys that are missing on the node.
pub type KeySource = Arc<dyn Fn(&NodeName, &[String]) -> Result<Vec<Key>, String> + Send + Sync>;

/// The connections, programs and records that a run uses.
pub struct Context {
    /// Connects to nodes.
    pub connector: Connector,
    /// The locks of the command; the run adds the ones that it needs. They also carry the interruption.
    pub locks: Arc<Keeper>,
    /// Source of private keys.
    pub keys: KeySource,
    /// The local store.
    pub nix: Nix,
    /// The orchestrator's workload on nodes, which is drained from a node before a reboot.
    pub workload: Option<Arc<dyn Workload>>,
    /// The consoles of machines, if this computer can read them.
    pub console: Option<Arc<dyn Console>>,
    /// Receives the run's events.
    pub events: Events,
    /// The record of the run.
    pub journal: Arc<Journal>,
}

/// Targets of a deploy and the cluster around them.
pub struct Request {
    /// The identifier of the run: letters, digits and `-`.
    pub run: String,
    /// The nodes, each with the system to deploy.
    pub targets: Vec<Target>,
    /// The cluster around them.
    pub topology: Topology,
    /// True if the hosts already have the systems, so that they may be missing in the local store.
    pub from_host: bool,
    /// The plan that this run must match exactly.
    pub planned: Option<PlanFile>,
    /// The nodes that this run or the previous pass already rebooted; they are not rebooted again.
    pub rebooted: BTreeSet<NodeName>,
}

/// The cluster, as machines.nix and the recorded state describe it.
#[derive(Default)]
pub struct Topology {
    /// All voting members of etcd with their addresses, targets or not.
    pub members: BTreeMap<NodeName, IpAddr>,
    /// True if the members are recorded to have formed a quorum.
    pub bootstrapped: bool,
    /// Location of etcd.
    pub datastore: Datastore,
    /// The voters to lock.
    pub electorate: Electorate,
    /// The known identity of each node's machine.
    pub known: Known,
    /// The traits of all nodes.
    pub traits: BTreeMap<NodeName, Traits>,
    /// The permissions in etcd that a service mesh needs.
    pub mesh: Option<Rules>,
}

/// Options that the user sets for a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Deploy over changes on the hosts that were not made by a deploy.
    pub accept_drift: bool,
    /// Distribution of non-voting nodes over waves.
    pub spread: Spread,
    /// Change a voter although a majority of the voters cannot be locked: the user makes sure that no other run changes
    /// one of them. The quorum is checked nevertheless.
    pub unlocked_voters: bool,
    /// Leave the nodes of a failed wave as they are. By default the confirmed nodes of the wave are reverted as well.
    pub no_revert: bool,
    /// Peer-to-peer copies of store paths between hosts.
    pub fan_out: FanOut,
    /// Confirm as soon as the new system runs, without gates and without a fresh connection.
    pub no_rollback: bool,
    /// Let hosts fetch missing paths from their own substituters before the rest is sent.
    pub substitute: bool,
    /// Time limits on a host.
    pub bounds: Bounds,
}

/// The run with the same identifier that was cut off, whose unfinished operations on hosts are completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The nodes whose reboot had begun, with the ID of the boot before it.
    pub rebooting: BTreeMap<NodeName, String>,
}

/// Consoles of machines, as far as this computer can read them.
pub trait Console: Send + Sync {
    /// Returns the last lines that a machine has printed there. None if they are not known.
    fn last_words(&self, node: &NodeName) -> Option<String>;
}

/// Workload of an orchestrator on nodes. Errors are sentences.
pub trait Workload: Send + Sync {
    /// Drains a node before a reboot. A node that the orchestrator does not manage is left unchanged.
    ///
    /// # Errors
    /// Part of the workload remains on the node, or the orchestrator does not respond.
    fn leave(&self, node: &NodeName, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<(), String>;

    /// Waits until the node is healthy, and uncordons it unless a user had cordoned it before.
    ///
    /// # Errors
    /// The node is not healthy, or the orchestrator does not respond.
    fn come_back(&self, node: &NodeName) -> Result<(), String>;
}
