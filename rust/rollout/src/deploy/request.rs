//! The input of a deploy: what is deployed where, with what, under which rules.

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

/// Decrypts private keys of a node, by file name. Called only for keys that the node lacks.
pub type KeySource = Arc<dyn Fn(&NodeName, &[String]) -> Result<Vec<Key>, String> + Send + Sync>;

/// The connections, programs and records that a run works with.
pub struct Context {
    /// Connects to nodes.
    pub connector: Connector,
    /// The locks of the command, to which the run adds those that it needs. They also carry the interruption.
    pub locks: Arc<Keeper>,
    /// Source of private keys.
    pub keys: KeySource,
    /// The local store.
    pub nix: Nix,
    /// The orchestrator's workload on nodes, which must leave a node before it is rebooted.
    pub workload: Option<Arc<dyn Workload>>,
    /// Receives the run's events.
    pub events: Events,
    /// The record of the run.
    pub journal: Arc<Journal>,
}

/// What is deployed where.
pub struct Request {
    /// The identifier of the run: letters, digits and `-`.
    pub run: String,
    /// The nodes, each with its system.
    pub targets: Vec<Target>,
    /// The cluster around them.
    pub topology: Topology,
    /// Whether the hosts have the systems already, and this computer need not have them.
    pub from_host: bool,
    /// The plan that this run must match to the letter.
    pub planned: Option<PlanFile>,
    /// The nodes that were rebooted before, by this run or by the pass before it: they are not rebooted again.
    pub rebooted: BTreeSet<NodeName>,
}

/// The cluster, as machines.nix and the recorded state describe it.
#[derive(Default)]
pub struct Topology {
    /// All voting members of etcd with their addresses, targets or not.
    pub members: BTreeMap<NodeName, IpAddr>,
    /// Whether the members formed a quorum once, as recorded.
    pub bootstrapped: bool,
    /// Where etcd runs.
    pub datastore: Datastore,
    /// Who votes, as far as the locks are concerned.
    pub electorate: Electorate,
    /// Which machine each node is.
    pub known: Known,
    /// The traits of all nodes.
    pub traits: BTreeMap<NodeName, Traits>,
    /// The permissions in etcd that a service mesh needs.
    pub mesh: Option<Rules>,
}

/// What the person allows in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Deploy over changes that no deploy made on the hosts.
    pub accept_drift: bool,
    /// How nodes without a vote are spread over waves.
    pub spread: Spread,
    /// Leave the nodes of a wave that failed as they are; without it those that were confirmed go back too.
    pub no_revert: bool,
    /// Whether hosts hand on to each other what they got.
    pub fan_out: FanOut,
    /// Confirm as soon as the new system runs, without gates and without a fresh connection.
    pub no_rollback: bool,
    /// Let hosts fetch what they lack from their own substituters before the rest is sent.
    pub substitute: bool,
    /// Time limits on a host.
    pub bounds: Bounds,
}

/// The run of the same identifier that was cut off: what it began on hosts is finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// The nodes whose reboot had begun, with the boot that was to end.
    pub rebooting: BTreeMap<NodeName, String>,
}

/// What an orchestrator runs on nodes. The errors are sentences.
pub trait Workload: Send + Sync {
    /// Takes it away from a node that is to be rebooted. A node that is none of the orchestrator's is left alone.
    ///
    /// # Errors
    /// Something stays, or cannot be asked.
    fn leave(&self, node: &NodeName, tell: &(dyn Fn(&str) + Send + Sync)) -> Result<(), String>;

    /// Waits until the node works again, and lets it come back, unless a person had sent it away before.
    ///
    /// # Errors
    /// The node does not work, or cannot be asked.
    fn come_back(&self, node: &NodeName) -> Result<(), String>;
}
