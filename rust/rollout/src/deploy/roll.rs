//! Execution of the waves: changes, gates and confirmations, and the conditions that end the run.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use machinist_model::NodeName;
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    run::{Deploy, DeployError},
};
use crate::{
    EventKind,
    journal::Entry,
    lock::Keeper,
    outcome::{Outcome, Report},
    step::{
        StepError,
        activate::{Activation, Kind, State},
        gate::Demand,
        gather,
    },
    waves::WaveKind,
};

impl Deploy {
    /// Runs the waves. The first one that fails ends the run.
    pub(super) async fn roll(
        self: &Arc<Self>,
        hosts: &mut Hosts,
        ready: &BTreeSet<NodeName>,
        rebooting: &BTreeSet<NodeName>,
        keeper: &Arc<Keeper>,
        report: &mut Report,
    ) -> Result<(), DeployError> {
        let (mut stopped, mut welcomed) = (false, false);
        let waves = report.waves.clone();
        let of = waves.len();
        for (number, wave) in (1..).zip(waves) {
            let nodes = wave.nodes.iter().filter(|node| ready.contains(*node));
            let nodes: Vec<Arc<Host>> = nodes.filter_map(|node| hosts.get(node)).map(Arc::clone).collect();
            if stopped || self.interrupt().is_set() {
                let why = if stopped { "a wave before it failed" } else { "the run was stopped" };
                let outcome = Outcome::NotStarted { why: why.to_owned() };
                report.nodes.extend(nodes.iter().map(|host| (host.target.node.clone(), outcome.clone())));
                continue;
            }
            self.context.events.run(EventKind::Wave { number, of, wave: wave.clone() });
            // The members of a new cluster do not respond before they are started.
            if wave.kind != WaveKind::Bootstrap && !welcomed {
                welcomed = true;
                self.welcome(hosts).await;
            }
            stopped = !self.wave(wave.kind, &nodes, hosts, keeper, report).await?;
            // Not after a bootstrap wave: its members have just formed a cluster, and the next run may take one down.
            if !stopped && wave.kind != WaveKind::Bootstrap && !self.interrupt().is_set() {
                let wanted = nodes.iter().map(|host| &host.target.node).filter(|node| rebooting.contains(*node));
                // A system that was booted to bring it needs no second boot.
                let wanted: Vec<NodeName> = wanted.filter(|node| !report.rebooted.contains(*node)).cloned().collect();
                stopped = !self.reboot(&wanted, hosts, keeper, report).await?;
            }
            self.untouched(&nodes, report);
        }
        Ok(())
    }

    /// Reports the nodes of a wave that were neither changed nor rebooted as unchanged.
    fn untouched(&self, nodes: &[Arc<Host>], report: &mut Report) {
        for host in nodes {
            let node = &host.target.node;
            if !report.nodes.contains_key(node) {
                self.context.events.node(node, EventKind::Done { text: "unchanged".to_owned() });
                report.nodes.insert(node.clone(), Outcome::Unchanged);
            }
        }
    }

    async fn wave(
        self: &Arc<Self>,
        kind: WaveKind,
        nodes: &[Arc<Host>],
        hosts: &mut Hosts,
        keeper: &Arc<Keeper>,
        report: &mut Report,
    ) -> Result<bool, DeployError> {
        let mut tasks = JoinSet::new();
        // A new cluster must be complete; if a member could not be prepared, the started ones need only be healthy.
        let whole = kind == WaveKind::Bootstrap && nodes.len() == self.topology().members.len();
        // A host that already has the system and its keys is only rebooted.
        for host in nodes.iter().filter(|host| !host.is_ready()) {
            let (this, host, hosts, keeper) = (Arc::clone(self), Arc::clone(host), hosts.clone(), Arc::clone(keeper));
            tasks.spawn_blocking(move || {
                let begun = Instant::now();
                let result = if host.boots() {
                    this.boot(kind, &host, &hosts, &keeper, whole).map(Some)
                } else {
                    this.change(kind, &host, &hosts, &keeper, whole).map(|()| None)
                };
                keeper.ended(&host.target.node);
                (host.target.node.clone(), begun.elapsed(), result)
            });
        }
        let (mut all_well, mut changed, mut booted) = (true, Vec::new(), Vec::new());
        for (node, took, result) in tasks.join_all().await {
            match result {
                Ok(back) => {
                    let how = if back.is_some() {
                        "has booted the new system, which is its default now"
                    } else {
                        "runs the new system"
                    };
                    let text = format!("{how} ({:.1} s)", took.as_secs_f64());
                    self.context.events.node(&node, EventKind::Done { text });
                    report.nodes.insert(node.clone(), Outcome::Changed);
                    changed.push(node.clone());
                    booted.extend(back.map(|back| (node.clone(), back.host)));
                }
                Err(error) => {
                    all_well = false;
                    self.fail(report, &node, &error);
                    if matches!(error, StepError::LostOnTrial { .. }) {
                        // The host can no longer be queried.
                        hosts.remove(&node);
                    }
                }
            }
            self.record(&Entry::node(&node, report.nodes.get(&node)))?;
        }
        report.rebooted.extend(booted.iter().map(|(node, _)| node.clone()));
        if !all_well && kind != WaveKind::Bootstrap && !self.policy.no_revert && !self.interrupt().is_set() {
            self.revert(&changed, hosts, keeper, report).await?;
        } else {
            hosts.extend(booted.into_iter().map(|(node, host)| (node, Arc::new(host))));
        }
        Ok(all_well)
    }

    /// Changes one host: final check, activation, gates, confirmation.
    fn change(
        &self,
        kind: WaveKind,
        host: &Host,
        hosts: &Hosts,
        keeper: &Keeper,
        whole: bool,
    ) -> Result<(), StepError> {
        let node = &host.target.node;
        if self.interrupt().is_set() {
            return Err(StepError::Interrupted);
        }
        let token = keeper.token(node)?;
        let (system, id) = (host.target.system.clone(), self.request.run.clone());
        let (gates, interrupt) = (!self.policy.no_rollback, self.interrupt().clone());
        let (bounds, kind_of_way) = (self.policy.bounds, Kind::Switch);
        let activation =
            Activation { node: node.clone(), system, id, token, bounds, gates, kind: kind_of_way, interrupt };
        let mut facts = host.facts.clone();
        if activation.found(&facts) {
            // It was started before the run was cut off. The member may already be down, so the quorum is not
            // checked.
            self.context.events.step(node, "going on with the activation that was begun");
            keeper.activating(&activation);
            match self.wait_for_gates(&activation, host)? {
                State::Reverted(_) | State::Gone | State::Died(_) => facts = gather(&*host.remote)?,
                state => return self.finish(&activation, host, state, Demand { whole, writable: false }),
            }
        }
        let writable = kind == WaveKind::Member && self.member_may_change(host, hosts, &facts)?;
        self.context.events.step(node, "activating");
        self.context.journal.append(&Entry::started(node, facts.running.as_ref())).map_err(StepError::Journal)?;
        self.activate(&activation, host, &facts, keeper, Demand { whole, writable })
    }
}
