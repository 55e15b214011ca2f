//! Sequence of a deploy: gather, plan, lock and copy, then one wave after another.

use std::{collections::BTreeSet, sync::Arc};

use machinist_model::NodeName;
use thiserror::Error;
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    request::{Context, Policy, Request, Resume, Topology},
    situation::Found,
};
use crate::{
    EventKind, Interrupt,
    journal::Entry,
    lock::Claimant,
    outcome::{Outcome, Report},
    step::{StepError, gather, ready_for_us},
    target::Target,
    text::words,
    waves::{self, Situation, Wave, WaveError},
};

/// A deploy that is ready to run.
pub struct Deploy {
    /// The connections, programs and records that it uses.
    pub context: Context,
    /// The targets and the cluster around them.
    pub request: Request,
    /// The user's options.
    pub policy: Policy,
    /// The run to continue, which was cut off.
    pub resume: Option<Resume>,
}

/// Reasons why a deploy did not begin.
#[derive(Debug, Error)]
pub enum DeployError {
    /// No order of the nodes is safe.
    #[error(transparent)]
    Waves(#[from] WaveError),
    /// A path is missing in the local store.
    #[error(transparent)]
    Nix(#[from] machinist_nix::NixError),
    /// The hosts or the waves differ from the plan. Each entry describes one difference.
    #[error("this is no longer what was planned: {}", .0.join("; "))]
    Moved(Vec<String>),
    /// The journal of the run cannot be written.
    #[error("cannot write the journal of this run")]
    Journal(#[source] std::io::Error),
}

impl Deploy {
    /// Runs the deploy.
    ///
    /// # Errors
    /// It cannot begin. A failure on a host is that host's outcome, not an error.
    pub async fn run(self) -> Result<Report, DeployError> {
        let this = Arc::new(self);
        this.record(&this.beginning())?;
        let mut report = Report::default();
        let result = this.go(&mut report).await;
        if let Err(error @ (DeployError::Waves(_) | DeployError::Moved(_) | DeployError::Nix(_))) = &result
            && this.resume.is_none()
        {
            // The run ended: without this entry it would be considered cut off.
            let refused = |target: &Target| (target.node.clone(), Outcome::Refused { why: error.to_string() });
            this.record(&Entry::ended(&this.request.targets.iter().map(refused).collect()))?;
        }
        result.map(|()| report)
    }

    fn beginning(&self) -> Entry {
        let Claimant { run: lock, who, .. } = self.context.locks.claimant();
        if self.resume.is_some() {
            return Entry::resumed(who);
        }
        let Request { run, targets, .. } = &self.request;
        Entry::begin(run, lock, who, targets, self.policy.spread.reboots)
    }

    async fn go(self: &Arc<Self>, report: &mut Report) -> Result<(), DeployError> {
        let mut hosts = self.gather(report).await;
        let changing = self.changing(&hosts, report);
        let mut situation = self.situation(&hosts, &changing);
        report.waves = waves::waves(&situation)?;
        self.refuse_what_moved(&hosts, &report.waves)?;
        self.record(&Entry::planned(&report.waves))?;
        let deltas = self.survey(&hosts, &changing, report).await?;
        let mut version_skew = self.version_skew(&hosts, &deltas).await;
        version_skew.extend(self.etcd_version_problems(&hosts, &deltas).await);
        let nodes: BTreeSet<NodeName> = deltas.keys().cloned().collect();
        let mut begun = false;
        if self.preflight(&hosts, &deltas, version_skew, report)
            && self.lock(&hosts, &nodes, report).await
            && let Some(now) = self.found_again(&hosts, &nodes, report).await
        {
            begun = true;
            hosts = now;
            situation = self.situation(&hosts, &changing);
            report.waves = waves::waves(&situation)?;
            self.refuse_what_moved(&hosts, &report.waves)?;
            let ready = self.prepare(&hosts, &deltas, report).await;
            self.roll(&mut hosts, &ready, &situation.rebooting, &self.context.locks, report).await?;
        }
        report.interrupted = self.interrupt().is_set();
        report.lost = self.context.locks.lost();
        report.reboot_due = self.still_due(&hosts, report);
        report.etcd = self.etcd_at_the_end(&hosts, report).await;
        // When a run that was cut off is not allowed to resume, its work stays unfinished, and it can be resumed later.
        if begun || self.resume.is_none() { self.record(&Entry::ended(&report.nodes)) } else { Ok(()) }
    }

    /// Compares the hosts and the waves with the plan that this run must match.
    fn refuse_what_moved(&self, hosts: &Hosts, waves: &[Wave]) -> Result<(), DeployError> {
        let Some(plan) = &self.request.planned else { return Ok(()) };
        let runs = |(node, host): (&NodeName, &Arc<Host>)| {
            (node.clone(), (host.facts.running.clone(), host.facts.profile.clone()))
        };
        let moved = plan.moved(&hosts.iter().map(runs).collect(), waves);
        if moved.is_empty() { Ok(()) } else { Err(DeployError::Moved(moved)) }
    }

    /// Connects to all targets at once and gathers the facts of each.
    async fn gather(self: &Arc<Self>, report: &mut Report) -> Hosts {
        let mut tasks = JoinSet::new();
        for target in self.request.targets.clone() {
            let this = Arc::clone(self);
            tasks.spawn_blocking(move || {
                let node = target.node.clone();
                this.context.events.step(&node, "connecting");
                let host = this.reach(&node).and_then(|remote| {
                    let facts = gather(&*remote)?;
                    ready_for_us(&facts, &target)?;
                    this.compared(Arc::from(remote), facts, target)
                });
                (node, host)
            });
        }
        let mut hosts = Hosts::new();
        for (node, host) in tasks.join_all().await {
            match host {
                Ok(host) => drop(hosts.insert(node, Arc::new(host))),
                Err(error) => self.fail(report, &node, &error),
            }
        }
        hosts
    }

    /// Returns the hosts that need a change or a reboot, and reports the others as unchanged.
    fn changing(&self, hosts: &Hosts, report: &mut Report) -> BTreeSet<NodeName> {
        let mut changing = BTreeSet::new();
        for (node, host) in hosts {
            if host.is_ready() && !self.reboots(host) {
                self.context.events.node(node, EventKind::Done { text: "unchanged".to_owned() });
                report.nodes.insert(node.clone(), Outcome::Unchanged);
            } else {
                changing.insert(node.clone());
            }
        }
        changing
    }

    /// Collects the input for the order of the nodes, with the health of etcd if the order depends on it.
    fn situation(&self, hosts: &Hosts, changing: &BTreeSet<NodeName>) -> Situation {
        let topology = self.topology();
        let rebooting = hosts.iter().filter(|(_, host)| self.reboots(host)).map(|(node, _)| node.clone()).collect();
        let mut found = Found {
            hosts: hosts.iter().map(|(node, host)| (node, &host.facts)).collect(),
            changing: changing.clone(),
            rebooting,
            health: None,
        };
        if found.needs_health(topology) {
            found.health = self.health(hosts, None).ok();
        }
        found.situation(topology, self.policy.spread.clone())
    }

    /// The cluster around the targets.
    pub(super) const fn topology(&self) -> &Topology {
        &self.request.topology
    }

    /// The user's request to stop.
    pub(super) fn interrupt(&self) -> &Interrupt {
        self.context.locks.interrupt()
    }

    pub(super) fn fail(&self, report: &mut Report, node: &NodeName, error: &StepError) {
        let text = words(node, error);
        self.context.events.node(node, EventKind::Failed { text: text.clone(), hint: error.hint() });
        let outcome = match error {
            StepError::Interrupted => Outcome::NotStarted { why: text },
            error if error.is_refusal() => Outcome::Refused { why: text },
            error => Outcome::Failed { why: text, verdict: error.verdict() },
        };
        report.nodes.insert(node.clone(), outcome);
    }

    pub(super) fn record(&self, entry: &Entry) -> Result<(), DeployError> {
        self.context.journal.append(entry).map_err(DeployError::Journal)
    }
}
