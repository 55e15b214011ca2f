//! The way to etcd, for every command about it.

use std::collections::BTreeMap;

use machinist_model::{Cluster, NodeName};
use machinist_operations::{
    context::Context,
    locks::{self, Locks},
    rollout::target::voters,
};
use machinist_rollout::{
    membership::{Voice, find_voice},
    step::{Connector, StepError},
};

use crate::{
    args::Global,
    failure::{Failure, Kind},
    ui::Ui,
};

/// What every command here needs.
pub struct Etcd<'a> {
    pub context: Context,
    pub cluster: Cluster,
    pub connector: Connector,
    /// Taken by what may take a member away.
    pub locks: Locks,
    pub global: &'a Global,
    pub ui: Ui,
}

impl Etcd<'_> {
    /// Locks all members that answer, a majority at least, for what makes one of them answer nobody.
    pub fn lock(&self) -> Result<(), Failure> {
        let scope = locks::of_voters(&self.cluster, &self.context.project.state()?, []);
        self.locks.hold(&scope, &BTreeMap::new())
    }

    /// A member that answers for all of them.
    pub fn voice(&self) -> Result<Voice, Failure> {
        let members = voters(&self.cluster);
        let askable: Vec<NodeName> = members.keys().cloned().collect();
        find_voice(&self.connector, &askable, &members, None).map_err(|error| failed(&error))
    }
}

/// What a step said, as a failure.
pub fn failed(error: &StepError) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}
