//! Session with etcd, shared by every operation on it.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_model::{Cluster, NodeName};
use machinist_remote::{Fingerprint, Remote};
use machinist_rollout::{
    lock::Token,
    membership::{Voice, find_voice},
    step::{Connector, StepError},
};

use crate::{
    connect,
    context::Context,
    failure::{Failure, Kind},
    locks::{self, Locks},
    rollout::target::voters,
    run_id::run_id,
};

/// Cluster with etcd, and the connections to its members.
pub(super) struct Session<'a> {
    pub context: &'a Context,
    pub cluster: Cluster,
    pub connector: Connector,
    /// Locks, taken by operations that may make a member unavailable.
    pub locks: Locks,
}

impl<'a> Session<'a> {
    /// Opens a session. A host key with the fingerprint `accept` is pinned.
    pub fn open(context: &'a Context, accept: Option<Fingerprint>) -> Result<Self, Failure> {
        let cluster = context.project.load()?.cluster;
        let connector = connect::connector(context, &cluster, accept)?;
        if voters(&cluster).is_empty() {
            return Err(Failure::new(Kind::Input, "machines.nix gives no machine the role \"etcd\""));
        }
        let locks = Locks::new(context, run_id(context), &connector);
        Ok(Self { context, cluster, connector, locks })
    }

    /// Locks all members that answer, at least a majority, for an operation that makes one of them unavailable.
    pub fn lock(&self) -> Result<(), Failure> {
        let scope = locks::of_voters(&self.cluster, &self.context.project.state()?, []);
        self.locks.hold(&scope, &BTreeMap::new())
    }

    /// Returns the token required to change a locked member.
    pub fn token(&self, node: &NodeName) -> Result<Token, Failure> {
        self.locks.token(node).map_err(|error| failed(&error))
    }

    /// Returns a healthy member to query the cluster through.
    pub fn voice(&self) -> Result<Voice, Failure> {
        let members = voters(&self.cluster);
        let askable: Vec<NodeName> = members.keys().cloned().collect();
        find_voice(&self.connector, &askable, &members, None).map_err(|error| failed(&error))
    }

    /// Connects to a member.
    pub fn member(&self, node: &NodeName) -> Result<(Box<dyn Remote>, IpAddr), Failure> {
        let ip = voters(&self.cluster).get(node).copied();
        let ip = ip.ok_or_else(|| Failure::new(Kind::Failed, format!("{node} is gone")))?;
        Ok((self.connector.connect(node).map_err(|error| failed(&error.into()))?, ip))
    }
}

/// Converts the error of a step into a failure.
pub(super) fn failed(error: &StepError) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}
