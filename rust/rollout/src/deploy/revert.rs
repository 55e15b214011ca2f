//! Revert of a failed wave's confirmed nodes, by the same path as any other change.

use std::sync::Arc;

use machinist_model::NodeName;
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    run::{Deploy, DeployError},
};
use crate::{
    EventKind, HostFacts,
    journal::Entry,
    lock::Keeper,
    outcome::{Outcome, Report},
    step::{
        StepError,
        activate::{Activation, Kind},
        gate::Demand,
    },
};

impl Deploy {
    /// Activates the systems again that the nodes ran before this run.
    pub(super) async fn revert(
        self: &Arc<Self>,
        nodes: &[NodeName],
        hosts: &Hosts,
        keeper: &Arc<Keeper>,
        report: &mut Report,
    ) -> Result<(), DeployError> {
        let mut tasks = JoinSet::new();
        for host in nodes.iter().filter_map(|node| hosts.get(node)) {
            let (this, host, keeper) = (Arc::clone(self), Arc::clone(host), Arc::clone(keeper));
            tasks.spawn_blocking(move || {
                let result = this.revert_one(&host, &keeper);
                keeper.ended(&host.target.node);
                (host.target.node.clone(), result)
            });
        }
        for (node, result) in tasks.join_all().await {
            match result {
                Ok(()) => {
                    let why = "another node of its wave failed".to_owned();
                    let text = format!("went back to the system before: {why}");
                    self.context.events.node(&node, EventKind::Done { text });
                    report.nodes.insert(node.clone(), Outcome::Reverted { why });
                }
                Err(error) => self.fail(report, &node, &error),
            }
            self.record(&Entry::node(&node, report.nodes.get(&node)))?;
        }
        Ok(())
    }

    fn revert_one(&self, host: &Host, keeper: &Keeper) -> Result<(), StepError> {
        let node = &host.target.node;
        let nothing = || {
            let why = "it ran no system of ours before, so there is nothing to go back to".to_owned();
            StepError::Broken { why, log: String::new() }
        };
        let system = host.facts.running.clone().ok_or_else(nothing)?;
        if host.boots() {
            return self.boot_back(host, system, keeper);
        }
        let token = keeper.token(node)?;
        self.context.events.step(node, "going back: another node of its wave failed");
        let id = format!("{}-back", self.request.run);
        let interrupt = self.interrupt().clone();
        let (bounds, kind) = (self.policy.bounds, Kind::Switch);
        let activation = Activation { node: node.clone(), system, id, token, bounds, gates: false, kind, interrupt };
        let new = Some(host.target.system.clone());
        let now = HostFacts { running: new.clone(), profile: new, ..HostFacts::default() };
        self.activate(&activation, host, &now, keeper, Demand::default())
    }
}
