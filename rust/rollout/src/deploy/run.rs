//! A deploy: gather, plan, lock, copy, then wave after wave.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::{etcd::Health, permissions::Rules};
use machinist_model::{NodeName, quorum::quorum};
use machinist_nix::Nix;
use thiserror::Error;
use tokio::task::JoinSet;

use super::host::{Host, Hosts};
use crate::{
    EventKind, Events, Interrupt,
    fan_out::FanOut,
    identity::Known,
    journal::{Entry, Journal},
    lock::{Electorate, Keeper},
    outcome::{EtcdEnd, Outcome, Report},
    plan::PlanFile,
    step::{
        Connector, StepError,
        activate::Bounds,
        gate, gather,
        keys::{self, Key},
        ready_for_us,
    },
    target::{Layout, Target, Traits},
    text::{chain, words},
    waves::{self, Situation, Spread, Wave, WaveError},
};

/// Decrypts private keys of a node, by file name. Called only for keys that the node lacks.
pub type KeySource = Arc<dyn Fn(&NodeName, &[String]) -> Result<Vec<Key>, String> + Send + Sync>;

/// A deploy.
pub struct Deploy {
    /// The identifier of the run: letters, digits and `-`.
    pub run: String,
    /// The nodes.
    pub targets: Vec<Target>,
    /// All voting members of etcd with their addresses, targets or not.
    pub members: BTreeMap<NodeName, IpAddr>,
    /// Whether the members formed a quorum once, as recorded.
    pub bootstrapped: bool,
    /// Who votes, as far as the locks are concerned.
    pub electorate: Electorate,
    /// Which machine each node is.
    pub known: Known,
    /// The locks of the command, to which the run adds those that it needs.
    pub locks: Arc<Keeper>,
    /// The server that founds the cluster, if etcd runs inside of k3s: its servers come one by one, by themselves.
    pub founder: Option<NodeName>,
    /// How long things may take on a host.
    pub bounds: Bounds,
    /// Reaches nodes.
    pub connector: Connector,
    /// What runs on nodes, and must leave one before it is rebooted.
    pub workload: Option<Arc<dyn Workload>>,
    /// What shall hold in the etcd of a service mesh.
    pub mesh: Option<Rules>,
    /// Gives private keys.
    pub keys: KeySource,
    /// The local store.
    pub nix: Nix,
    /// Where the story goes.
    pub events: Events,
    /// Where the run is recorded.
    pub journal: Arc<Journal>,
    /// Who runs it, `user@host`.
    pub who: String,
    /// Stops it.
    pub interrupt: Interrupt,
    /// What is known of the nodes beside their systems.
    pub traits: BTreeMap<NodeName, Traits>,
    /// What the person allows.
    pub policy: Policy,
    /// The nodes whose reboot was begun before the run was cut off, with the boot that was to end.
    pub rebooting: BTreeMap<NodeName, String>,
    /// The nodes that were rebooted before, by this run or by the pass before this one.
    pub rebooted: BTreeSet<NodeName>,
    /// Whether a run of this identifier was cut off: what it began on hosts is finished.
    pub resumes: bool,
    /// Whether the hosts have the systems already, and this computer need not have them.
    pub from_host: bool,
    /// The plan that this is to be, to the letter.
    pub planned: Option<PlanFile>,
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

/// What the person allows in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Deploy over what no deploy brought to the hosts.
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
}

/// Why a deploy did not begin.
#[derive(Debug, Error)]
pub enum DeployError {
    /// No safe order.
    #[error(transparent)]
    Waves(#[from] WaveError),
    /// The local store lacks a path.
    #[error(transparent)]
    Nix(#[from] machinist_nix::NixError),
    /// Something is no longer as it was when the plan was made.
    #[error("this is no longer what was planned: {}", .0.join("; "))]
    Moved(Vec<String>),
    /// The record of the run cannot be written.
    #[error("cannot write the journal of this run")]
    Journal(#[source] std::io::Error),
}

/// How long etcd may take at the end of a run to have a quorum: an election takes a second or two.
const SETTLING: Duration = Duration::from_secs(15);

impl Deploy {
    /// Runs the deploy.
    ///
    /// # Errors
    /// It cannot begin. What goes wrong on a host is that host's outcome, not an error.
    pub async fn run(self) -> Result<Report, DeployError> {
        let this = Arc::new(self);
        let begin = if this.resumes {
            Entry::resumed(&this.who)
        } else {
            Entry::begin(&this.run, &this.locks.claimant().run, &this.who, &this.targets, this.policy.spread.reboots)
        };
        this.record(&begin)?;
        let mut report = Report::default();
        let result = this.go(&mut report).await;
        if let Err(error @ (DeployError::Waves(_) | DeployError::Moved(_) | DeployError::Nix(_))) = &result
            && !this.resumes
        {
            // It came to an end: a run without one would be taken for one that was cut off.
            let refused = |target: &Target| (target.node.clone(), Outcome::Refused { why: error.to_string() });
            this.record(&Entry::ended(&this.targets.iter().map(refused).collect()))?;
        }
        result.map(|()| report)
    }

    async fn go(self: &Arc<Self>, report: &mut Report) -> Result<(), DeployError> {
        let mut hosts = self.gather(report).await;
        let changing = self.changing(&hosts, report);
        let mut situation = self.situation(&hosts, &changing);
        report.waves = waves::waves(&situation)?;
        self.refuse_what_moved(&hosts, &report.waves)?;
        self.record(&Entry::planned(&report.waves))?;
        let deltas = self.survey(&hosts, &changing, report).await?;
        let version_skew = self.version_skew(&hosts, &deltas).await;
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
            self.roll(&mut hosts, &ready, &situation.rebooting, &self.locks, report).await?;
        }
        report.interrupted = self.interrupt.is_set();
        report.lost = self.locks.lost();
        report.reboot_due = self.still_due(&hosts, report);
        report.etcd = self.etcd_at_the_end(&hosts, report).await;
        // What was cut off before is still unfinished when its resumption is refused, and can be resumed later.
        if begun || !self.resumes { self.record(&Entry::ended(&report.nodes)) } else { Ok(()) }
    }

    /// Holds what is true against the plan that this is to be.
    fn refuse_what_moved(&self, hosts: &Hosts, waves: &[Wave]) -> Result<(), DeployError> {
        let Some(plan) = &self.planned else { return Ok(()) };
        let runs = |(node, host): (&NodeName, &Arc<Host>)| {
            (node.clone(), (host.facts.running.clone(), host.facts.profile.clone()))
        };
        let moved = plan.moved(&hosts.iter().map(runs).collect(), waves);
        if moved.is_empty() { Ok(()) } else { Err(DeployError::Moved(moved)) }
    }

    /// Connects to all targets at once and asks each what is true.
    async fn gather(self: &Arc<Self>, report: &mut Report) -> Hosts {
        let mut tasks = JoinSet::new();
        for target in self.targets.clone() {
            let this = Arc::clone(self);
            tasks.spawn_blocking(move || {
                let node = target.node.clone();
                this.events.step(&node, "connecting");
                let host = this.reach(&node).and_then(|remote| {
                    let facts = gather(&*remote)?;
                    ready_for_us(&facts, &target)?;
                    let due = this.due(&*remote, &facts, &target);
                    Ok(Host { target, remote: Arc::from(remote), facts, due })
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

    /// Sorts out the hosts that are already as they should be.
    fn changing(&self, hosts: &Hosts, report: &mut Report) -> BTreeSet<NodeName> {
        let mut changing = BTreeSet::new();
        for (node, host) in hosts {
            if host.is_ready() && !self.reboots(host) {
                self.events.node(node, EventKind::Done { text: "unchanged".to_owned() });
                report.nodes.insert(node.clone(), Outcome::Unchanged);
            } else {
                changing.insert(node.clone());
            }
        }
        changing
    }

    fn situation(&self, hosts: &Hosts, changing: &BTreeSet<NodeName>) -> Situation {
        let members: BTreeSet<NodeName> = self.members.keys().cloned().collect();
        let member_hosts = || members.iter().filter_map(|member| hosts.get(member));
        let any_data = member_hosts().any(|host| host.facts.etcd_data);
        let asked = (self.bootstrapped || any_data) && changing.iter().any(|node| members.contains(node));
        let health = if asked { self.health(hosts, None).ok() } else { None };
        // The record may be lost, or was never written because the first deploy was cut off. What runs is the truth: a
        // quorum that is there must not be restarted at once.
        let voters = |health: &Health| match self.founder {
            Some(_) => health.members.len() + health.unmanaged.len(),
            None => members.len(),
        };
        let runs = health.as_ref().is_some_and(|health| health.healthy() >= quorum(voters(health)));
        // Nor can a quorum run where too few members do: a cold start brings them up together, one alone would wait for
        // ever.
        let down = member_hosts().filter(|host| !host.facts.etcd_active).count();
        let is_cold = members.len() - down < quorum(members.len());
        let founder = self.founder.clone().filter(|_| !any_data && !self.bootstrapped);
        let joining: BTreeSet<NodeName> = member_hosts()
            .filter(|host| self.founder.is_some() && !host.facts.etcd_data)
            .map(|host| host.target.node.clone())
            .collect();
        let broken = health.iter().flat_map(Health::broken).map(|(name, _)| name.clone());
        let broken = broken.chain(joining.iter().cloned()).collect();
        let leader = health.and_then(|health| health.leader);
        let unchanged = hosts.keys().filter(|node| members.contains(*node) && !changing.contains(*node));
        let unchanged_members = unchanged.cloned().collect();
        let (changing, bootstrapped) = (changing.clone(), (self.bootstrapped && !is_cold) || runs);
        let Layout { zones, ingress, control_planes, routers } = Layout::of(&self.traits);
        let holds = |host: &&Arc<Host>| host.facts.virtual_address && changing.contains(&host.target.node);
        let virtual_address = hosts.values().filter(holds).map(|host| host.target.node.clone()).collect();
        let rebooting = hosts.iter().filter(|(_, host)| self.reboots(host)).map(|(node, _)| node.clone()).collect();
        Situation {
            changing,
            members,
            unchanged_members,
            bootstrapped,
            leader,
            broken,
            zones,
            ingress,
            control_planes,
            routers,
            virtual_address,
            rebooting,
            spread: self.policy.spread.clone(),
            founder,
            joining,
        }
    }

    pub(super) fn put_keys(&self, host: &Host) -> Result<(), StepError> {
        let node = &host.target.node;
        let lacking: Vec<String> =
            host.target.keys.iter().filter(|key| !host.facts.keys.contains(*key)).cloned().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        self.events.step(node, format!("putting {} private keys in place", lacking.len()));
        let keys = (self.keys)(node, &lacking).map_err(StepError::Keys)?;
        keys::put(&*host.remote, keys)
    }

    /// Reports etcd after the run. Right after a host was reset the connection to it is dead and an election may be under way:
    /// every member is asked, over a fresh connection where needed, until a quorum answers.
    async fn etcd_at_the_end(self: &Arc<Self>, hosts: &Hosts, report: &Report) -> Option<EtcdEnd> {
        if !self.members.keys().any(|member| hosts.contains_key(member)) {
            return None;
        }
        let (this, hosts) = (Arc::clone(self), hosts.clone());
        // Where nothing was touched there is nothing to wait for.
        let is_untouched = |outcome: &Outcome| {
            matches!(outcome, Outcome::Unchanged | Outcome::NotStarted { .. } | Outcome::Refused { .. })
        };
        let settling = if report.nodes.values().all(is_untouched) { Duration::ZERO } else { SETTLING };
        let asked = tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + settling;
            loop {
                let end = match this.health(&hosts, None).or_else(|error| this.health_afresh().ok_or(error)) {
                    Ok(health) => EtcdEnd::from(&health),
                    Err(error) => EtcdEnd::unknown(this.members.len(), chain(&error)),
                };
                if end.has_quorum() || this.interrupt.is_set() || Instant::now() >= deadline {
                    return end;
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
        asked.await.ok()
    }

    /// Asks etcd over a fresh connection to any member.
    fn health_afresh(&self) -> Option<Health> {
        let connected = self.members.keys().filter_map(|member| self.connector.connect(member).ok());
        let health = connected.filter_map(|remote| gate::etcd(&*remote, &self.members).ok()).next()?;
        Some(if self.founder.is_some() { health.without_absent() } else { health })
    }

    pub(super) fn fail(&self, report: &mut Report, node: &NodeName, error: &StepError) {
        let text = words(node, error);
        self.events.node(node, EventKind::Failed { text: text.clone(), hint: error.hint() });
        let outcome = match error {
            StepError::Interrupted => Outcome::NotStarted { why: text },
            error if error.is_refusal() => Outcome::Refused { why: text },
            error => Outcome::Failed { why: text, verdict: error.verdict() },
        };
        report.nodes.insert(node.clone(), outcome);
    }

    pub(super) fn record(&self, entry: &Entry) -> Result<(), DeployError> {
        self.journal.append(entry).map_err(DeployError::Journal)
    }
}
