//! One deploy and its passes: generate, build, roll out, and record the outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_etcd::permissions::Rules;
use machinist_model::{Cluster, NodeName, RecordedState};
use machinist_rollout::{
    deploy::{
        Context as DeployContext, Datastore, Deploy, DeployError, EtcdEnd, Outcome, Policy, Report, Request, Resume,
        Topology,
    },
    journal::Record,
    plan::PlanFile,
    step::Connector,
};

use super::{
    job::Job,
    options::Options,
    planned::{PLAN_AGAIN, refuse_other_systems},
    runs,
    target::{targets, traits},
    verdict::verdict,
};
use crate::{
    certs,
    context::Context,
    event::Event,
    failure::{Failure, Kind, OrFail as _},
    locks::{self, Locks},
    sandbox::console::consoles,
    systems::{self, BuildOn, Building},
    workload::workload,
};

/// State shared by all passes of one deploy.
pub struct Run<'a> {
    /// Context of the operation.
    pub context: &'a Context,
    /// Location of builds.
    pub build_on: &'a BuildOn,
    /// Options for evaluation and build.
    pub building: &'a Building,
    /// Rollout options.
    pub options: &'a Options,
    /// Cluster from machines.nix.
    pub cluster: &'a Cluster,
    /// Target nodes.
    pub nodes: Vec<NodeName>,
    /// Voters in etcd during the deploy, with their addresses.
    pub voters: BTreeMap<NodeName, IpAddr>,
    /// Connector to the nodes.
    pub connector: Connector,
    /// Locks of the command.
    pub locks: &'a Locks,
}

impl Run<'_> {
    /// Performs one pass: generates, builds and rolls out.
    pub fn pass(
        &self,
        state: &RecordedState,
        resumed: Option<&Record>,
        planned: Option<PlanFile>,
        rebooted: BTreeSet<NodeName>,
    ) -> Result<Report, Failure> {
        self.context.stop_here()?;
        let generated = self.context.project.generated(self.cluster)?;
        generated.refuse_foreign()?;
        self.context.project.write_generated(&generated)?;
        let flake = self.context.project.flake()?;
        let systems = match self.build_on {
            BuildOn::Local => systems::build(self.context, self.building, self.cluster, &flake, &self.nodes)?,
            on => systems::build_elsewhere(self.context, &flake, &self.nodes, on, &self.connector)?,
        };
        self.context.stop_here()?;
        let targets = targets(&self.context.project, self.cluster, &systems)?;
        if let Some(plan) = &planned {
            refuse_other_systems(plan, &systems)?;
        }
        let mut job = match resumed {
            None => Job::new(self.context, self.locks, targets, false)?,
            Some(record) => {
                runs::refuse_changed(record, &systems)?;
                Job::resume(self.context, targets, record)?
            }
        };
        job.planned = planned;
        job.from_host = *self.build_on == BuildOn::Target;
        job.rebooted.extend(rebooted);
        self.roll_out(state, job)
    }

    /// Performs one pass of a change that takes several. Returns its report, which is an event then, too, unless all
    /// nodes run their system and etcd has a quorum. While a learner is present, its voters see etcd as degraded.
    pub fn step(&self, state: &RecordedState, begun: Instant) -> Result<Option<Box<Report>>, Failure> {
        let report = self.pass(state, None, None, BTreeSet::new())?;
        let is_done = |outcome: &Outcome| matches!(outcome, Outcome::Changed | Outcome::Unchanged);
        let holds = report.etcd.as_ref().is_none_or(EtcdEnd::has_quorum);
        if holds && report.nodes.values().all(is_done) {
            return Ok(None);
        }
        self.report(&report, begun.elapsed());
        Ok(Some(Box::new(report)))
    }

    /// Returns the topology of the cluster around the targets.
    fn topology(&self, state: &RecordedState) -> Topology {
        let traits = self.cluster.deployable().map(|node| (node.name.clone(), traits(self.cluster, node)));
        Topology {
            members: self.voters.clone(),
            bootstrapped: state.etcd.bootstrapped,
            datastore: Datastore::of(self.cluster.k3s_founder().map(|node| node.name.clone())),
            electorate: locks::electorate(self.cluster, state),
            known: locks::known(self.cluster, state, self.options.accept_host_key.is_some()),
            traits: traits.collect(),
            mesh: Rules::of(self.cluster),
        }
    }

    /// Rolls the systems out to the machines.
    pub fn roll_out(&self, state: &RecordedState, job: Job) -> Result<Report, Failure> {
        let Job { run, journal, targets, from_host, planned, rebooted, before } = job;
        let reboots = before.as_ref().map(|before| before.reboots);
        self.context.events.detail(format!("this run is recorded in {}", journal.path().display()));
        let deploy = Deploy {
            context: DeployContext {
                connector: Arc::clone(&self.connector),
                locks: Arc::clone(&self.locks.keeper),
                keys: certs::key_source(&self.context.project.directory, self.cluster, &self.context.keyring),
                nix: self.context.project.nix.clone(),
                workload: workload(self.context, self.cluster, &self.connector),
                console: consoles(&self.context.project, self.cluster),
                events: self.context.events.of_rollout(),
                journal: Arc::new(journal),
            },
            policy: Policy { spread: self.options.spread(planned.as_ref(), reboots), ..self.options.policy.clone() },
            request: Request {
                run: run.clone(),
                targets,
                topology: self.topology(state),
                from_host,
                planned,
                rebooted,
            },
            resume: before.map(|before| Resume { rebooting: before.rebooting }),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().failed()?;
        self.context.events.send(Event::RolloutStarted { run, nodes: self.nodes.clone() });
        let result = runtime.block_on(deploy.run());
        // A thread may still be waiting for an unresponsive host, whose answer no longer matters.
        runtime.shutdown_background();
        self.context.events.send(Event::RolloutEnded);
        result.map_err(|error| {
            let refused = matches!(error, DeployError::Waves(_) | DeployError::Moved(_));
            let kind = if refused { Kind::Refused } else { Kind::Failed };
            let moved = matches!(error, DeployError::Moved(_)).then(|| PLAN_AGAIN.to_owned());
            Failure::from_error(kind, &error).maybe_hint(moved)
        })
    }

    /// Records that etcd has formed its quorum, with the members that it reports, or else those in machines.nix.
    pub fn record_bootstrap(&self, known: Option<&BTreeSet<NodeName>>) -> Result<RecordedState, Failure> {
        let mut state = self.context.project.state()?;
        state.etcd.bootstrapped = true;
        state.etcd.members =
            known.cloned().unwrap_or_else(|| self.cluster.voters().map(|node| node.name.clone()).collect());
        state.record_running(self.cluster, &state.etcd.members.clone());
        self.context.project.record(&state)?;
        Ok(state)
    }

    /// Records the servers of k3s that have joined in the meantime.
    pub fn record_servers(&self, joined: &BTreeSet<NodeName>) -> Result<(), Failure> {
        let mut state = self.context.project.state()?;
        let before = state.etcd.members.len();
        state.etcd.members.extend(joined.iter().cloned());
        if state.etcd.members.len() > before { self.context.project.record(&state) } else { Ok(()) }
    }

    /// Records the running configuration after a run without failures, as etcd itself reports its members. This
    /// completes state files from before these facts were recorded.
    pub fn record_running(&self, report: &Report) -> Result<(), Failure> {
        match &report.etcd {
            Some(etcd) if verdict(report).is_none() => self.context.project.record_running(self.cluster, &etcd.known),
            _ => Ok(()),
        }
    }

    /// Reports the end of the rollout.
    pub fn report(&self, report: &Report, took: Duration) {
        self.context.events.send(Event::Report { report: Box::new(report.clone()), took });
    }
}
