//! Wave after wave: what is changed, gated and confirmed, and what ends the run.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Instant};

use machinist_etcd::{alarm::QUOTA_HINT, etcd::Health};
use machinist_model::{NodeName, quorum::quorum as quorum_of};
use machinist_remote::{Remote, RemoteError};
use machinist_switch::{Action, consequences::consequences, units::decide};
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    run::{Deploy, DeployError},
};
use crate::{
    EventKind, HostFacts,
    journal::Entry,
    local_system,
    lock::Keeper,
    outcome::{Outcome, Report},
    plan::{inspect, quorum},
    step::{
        StepError,
        activate::{Activation, State},
        gate::{self, Demand},
        gather,
    },
    text::chain,
    waves::WaveKind,
};

impl Deploy {
    /// Runs the waves. The first that fails ends the run.
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
            if stopped || self.interrupt.is_set() {
                let why = if stopped { "a wave before it failed" } else { "the run was stopped" };
                let outcome = Outcome::NotStarted { why: why.to_owned() };
                report.nodes.extend(nodes.iter().map(|host| (host.target.node.clone(), outcome.clone())));
                continue;
            }
            self.events.run(EventKind::Wave { number, of, wave: wave.clone() });
            // The members of a new cluster cannot be asked before they run.
            if wave.kind != WaveKind::Bootstrap && !welcomed {
                welcomed = true;
                self.welcome(hosts).await;
            }
            stopped = !self.wave(wave.kind, &nodes, hosts, keeper, report).await?;
            // The members of a new cluster have just found each other: the next run may take one away.
            if !stopped && wave.kind != WaveKind::Bootstrap && !self.interrupt.is_set() {
                let wanted = nodes.iter().map(|host| &host.target.node).filter(|node| rebooting.contains(*node));
                let wanted: Vec<NodeName> = wanted.cloned().collect();
                stopped = !self.reboot(&wanted, hosts, keeper, report).await?;
            }
            self.untouched(&nodes, report);
        }
        Ok(())
    }

    /// What a wave neither changed nor rebooted stays as it is.
    fn untouched(&self, nodes: &[Arc<Host>], report: &mut Report) {
        for host in nodes {
            let node = &host.target.node;
            if !report.nodes.contains_key(node) {
                self.events.node(node, EventKind::Done { text: "unchanged".to_owned() });
                report.nodes.insert(node.clone(), Outcome::Unchanged);
            }
        }
    }

    async fn wave(
        self: &Arc<Self>,
        kind: WaveKind,
        nodes: &[Arc<Host>],
        hosts: &Hosts,
        keeper: &Arc<Keeper>,
        report: &mut Report,
    ) -> Result<bool, DeployError> {
        let mut tasks = JoinSet::new();
        // A new cluster must be whole; if a member could not be prepared, those that come up need only be healthy.
        let whole = kind == WaveKind::Bootstrap && nodes.len() == self.members.len();
        // One that has the system and its keys already is only rebooted.
        for host in nodes.iter().filter(|host| !host.is_ready()) {
            let (this, host, hosts, keeper) = (Arc::clone(self), Arc::clone(host), hosts.clone(), Arc::clone(keeper));
            tasks.spawn_blocking(move || {
                let begun = Instant::now();
                let result = this.change(kind, &host, &hosts, &keeper, whole);
                keeper.ended(&host.target.node);
                (host.target.node.clone(), begun.elapsed(), result)
            });
        }
        let (mut all_well, mut changed) = (true, Vec::new());
        for (node, took, result) in tasks.join_all().await {
            match result {
                Ok(()) => {
                    let text = format!("runs the new system ({:.1} s)", took.as_secs_f64());
                    self.events.node(&node, EventKind::Done { text });
                    report.nodes.insert(node.clone(), Outcome::Changed);
                    changed.push(node.clone());
                }
                Err(error) => {
                    all_well = false;
                    self.fail(report, &node, &error);
                }
            }
            self.record(&Entry::node(&node, report.nodes.get(&node)))?;
        }
        if !all_well && kind != WaveKind::Bootstrap && !self.policy.no_revert && !self.interrupt.is_set() {
            self.revert(&changed, hosts, keeper, report).await?;
        }
        Ok(all_well)
    }

    /// Changes one host: the check right before, the activation, the gates, the confirmation.
    fn change(
        &self,
        kind: WaveKind,
        host: &Host,
        hosts: &Hosts,
        keeper: &Keeper,
        whole: bool,
    ) -> Result<(), StepError> {
        let node = &host.target.node;
        if self.interrupt.is_set() {
            return Err(StepError::Interrupted);
        }
        let token = keeper.token(node)?;
        let (system, id) = (host.target.system.clone(), self.run.clone());
        let (gates, interrupt) = (!self.policy.no_rollback, self.interrupt.clone());
        let activation = Activation { node: node.clone(), system, id, token, bounds: self.bounds, gates, interrupt };
        let mut facts = host.facts.clone();
        if activation.found(&facts) {
            // It was begun before the run was cut off. Its member is away already, if it is: no quorum to ask for.
            self.events.step(node, "going on with the activation that was begun");
            keeper.activating(&activation);
            match self.wait_for_gates(&activation, host)? {
                State::Reverted(_) | State::Gone | State::Died(_) => facts = gather(&*host.remote)?,
                state => return self.finish(&activation, host, state, Demand { whole, writable: false }),
            }
        }
        let mut writable = false;
        if kind == WaveKind::Member {
            match self.ask_for_quorum(host, hosts) {
                Err(StepError::Quorum(objection)) if facts.etcd_data && leaves_etcd_alone(host) => {
                    let text = format!("careful: {objection}; etcd does not restart by this change, so it goes on");
                    self.events.node(node, EventKind::Note { text });
                }
                asked => writable = self.takes_writes(node, asked?.as_ref()),
            }
        }
        self.events.step(node, "activating");
        self.journal.append(&Entry::started(node, facts.running.as_ref())).map_err(StepError::Journal)?;
        self.activate(&activation, host, &facts, keeper, Demand { whole, writable })
    }

    /// Whether etcd is known to take writes. A quota alarm from before the activation is reported: it is not its work.
    fn takes_writes(&self, node: &NodeName, health: Option<&Health>) -> bool {
        let Some(health) = health else { return false };
        let Some(notice) = health.quota_notice() else { return true };
        let text = format!("careful: {notice}; it did so before this change, which continues. {QUOTA_HINT}");
        self.events.node(node, EventKind::Note { text });
        false
    }

    /// Takes the member out of the quorum's way, or refuses. A member that is down already takes nothing from a quorum, and
    /// a deploy may be what brings it back. Returns the health of etcd, `None` if it gave no answer.
    pub(super) fn ask_for_quorum(&self, host: &Host, hosts: &Hosts) -> Result<Option<Health>, StepError> {
        let node = &host.target.node;
        let health = match self.health(hosts, Some(node)) {
            Ok(health) => health,
            // One that is only to join needs a cluster that is well.
            Err(_) if is_down(host) && !self.joins(host) => return Ok(None),
            Err(error) => return Err(error),
        };
        if health.members.get(node).is_some_and(|member| member.started) && !host.facts.etcd_data {
            return Err(StepError::Quorum(self.data_is_gone(node)));
        }
        match health.objection(node) {
            Some(objection) if !is_down(host) || self.joins(host) => Err(StepError::Quorum(objection)),
            None if host.facts.etcd_active => {
                self.refuse_unlocked_voters(&health)?;
                self.move_leader(host, &health);
                Ok(Some(health))
            }
            _ => {
                self.move_leader(host, &health);
                Ok(Some(health))
            }
        }
    }

    /// The record by which voters were counted when they were locked may be older than what etcd says.
    fn refuse_unlocked_voters(&self, health: &Health) -> Result<(), StepError> {
        let voters = health.members.iter().filter(|(_, member)| member.id.is_some() && !member.learner);
        let locked = voters.clone().filter(|(name, _)| self.locks.has(name)).count();
        let strangers = health.unmanaged.iter().filter(|stranger| !stranger.learner).count();
        let all = voters.count() + strangers;
        if locked >= quorum_of(all) {
            return Ok(());
        }
        Err(StepError::Quorum(format!("etcd has {all} voters, and only {locked} of them are locked")))
    }

    /// Whether the host is a server of k3s without data, which joins the cluster by itself when it starts.
    fn joins(&self, host: &Host) -> bool {
        self.founder.is_some() && !host.facts.etcd_data
    }

    fn data_is_gone(&self, node: &NodeName) -> String {
        if self.founder.is_some() {
            return format!(
                "{node} is a server of the running k3s cluster, but its data is gone: k3s lets it in again only after its old \
                 self was taken out. At another server: `k3s kubectl delete node {node}`; then deploy it again"
            );
        }
        format!(
            "{node} is a member of the running etcd cluster, but its data is gone: started with an empty disk it would \
             crash. Let it join anew: `machinist node replace {node}`"
        )
    }

    /// Activates a system on a host, waits for the gates and confirms.
    pub(super) fn activate(
        &self,
        activation: &Activation,
        host: &Host,
        facts: &HostFacts,
        keeper: &Keeper,
        demand: Demand,
    ) -> Result<(), StepError> {
        keeper.activating(activation);
        activation.start(&*host.remote, facts).map_err(unknown)?;
        let state = self.wait_for_gates(activation, host)?;
        self.finish(activation, host, state, demand)
    }

    /// Waits for the host, and says which gate it asks.
    fn wait_for_gates(&self, activation: &Activation, host: &Host) -> Result<State, StepError> {
        let shown = |gate: &str| self.events.step(&activation.node, format!("waiting for the gate {gate}"));
        activation.wait_for_gates(&*host.remote, &self.connector, shown)
    }

    fn finish(&self, activation: &Activation, host: &Host, state: State, demand: Demand) -> Result<(), StepError> {
        let node = &activation.node;
        if state != State::Waiting {
            return activation.verdict(state, &*host.remote);
        }
        if self.locks.token(node).is_err() {
            // Without the lock the host goes back by itself, or another process of this run confirms there.
            let state = activation.wait(&*host.remote, &self.connector, "waiting|reverting").map_err(unknown)?;
            return activation.verdict(state, &*host.remote);
        }
        if self.interrupt.is_set() {
            let why = "the operator stopped the run";
            let state = activation.abort(&*host.remote, &self.connector, why).map_err(unknown)?;
            return activation.verdict(state, &*host.remote);
        }
        if self.policy.no_rollback {
            return activation.confirm_at_once(&*host.remote, &self.connector).map_err(unknown);
        }
        if self.members.contains_key(node) {
            self.events.step(node, "waiting for etcd to be healthy");
            self.gate(activation, host, demand)?;
        }
        self.events.step(node, "confirming over a fresh connection");
        match self.connector.connect(node) {
            Ok(fresh) => activation.confirm_at_once(&*fresh, &self.connector).map_err(unknown),
            // The new system lets nobody in. It would revert by itself; over the old connection, if that still stands, it
            // does so at once.
            Err(error) => {
                let why = format!("no fresh connection could be opened: {error}");
                let state = activation.abort(&*host.remote, &self.connector, &why).map_err(|_| {
                    let seconds = self.bounds.confirmation.as_secs();
                    StepError::Unknown { why: format!("{why}; the host reverts by itself within {seconds} s") }
                })?;
                activation.verdict(state, &*host.remote)
            }
        }
    }

    /// Waits until etcd is healthy, over the connection that is there, or over a new one if the activation cut it. If the
    /// gate stays closed, the host goes back at once, and what etcd logged is told.
    fn gate(&self, activation: &Activation, host: &Host, demand: Demand) -> Result<(), StepError> {
        let node = &activation.node;
        let ask = |remote: &dyn Remote| gate::await_etcd(remote, &self.members, node, demand, &self.interrupt);
        let (remote, asked) = match ask(&*host.remote) {
            Err(StepError::Remote(error)) if error.is_connection_failure() => {
                let unknown = |error: RemoteError| StepError::Unknown { why: error.to_string() };
                let fresh: Arc<dyn Remote> = Arc::from(self.connector.connect(node).map_err(unknown)?);
                let asked = ask(&*fresh);
                (fresh, asked)
            }
            asked => (Arc::clone(&host.remote), asked),
        };
        let Err(closed) = asked else { return Ok(()) };
        let log = activation.log_of(&*remote, quorum::UNITS[usize::from(self.founder.is_some())]);
        let state = activation.abort(&*remote, &self.connector, &closed.to_string())?;
        activation.verdict(state, &*remote).map_err(|error| error.with_log(log))
    }

    /// Asks etcd through any connected member, `away` only if there is no other. A server of k3s that has no data cannot ask: then
    /// the others are, that are no targets.
    pub(super) fn health(&self, hosts: &Hosts, away: Option<&NodeName>) -> Result<Health, StepError> {
        let mut askable: Vec<&Arc<Host>> = self.members.keys().filter_map(|member| hosts.get(member)).collect();
        askable.sort_by_key(|host| Some(&host.target.node) == away);
        let mut last = StepError::Gate("no etcd member can be asked".to_owned());
        for host in askable {
            match gate::etcd(&*host.remote, &self.members) {
                Ok(health) if self.founder.is_some() => return Ok(health.without_absent()),
                Ok(health) => return Ok(health),
                Err(error) => last = error,
            }
        }
        let others = self.members.keys().filter(|member| self.founder.is_some() && !hosts.contains_key(*member));
        let asked = others.filter_map(|member| gate::etcd(&*self.connector.connect(member).ok()?, &self.members).ok());
        asked.map(Health::without_absent).next().ok_or(last)
    }
}

/// Whether the new system neither stops nor restarts etcd: then its member is not taken away. Without knowing, it does.
fn leaves_etcd_alone(host: &Host) -> bool {
    let units = Path::new(host.target.system.as_str()).join("etc/systemd/system");
    let Ok(new) = local_system::unit_tree(&units) else { return false };
    let Ok(old) = inspect::ask(&*host.remote, &new) else { return false };
    let changes = consequences(&decide(&old.units, &new), &old.units, &new);
    let disturbs = |action| matches!(action, Action::Stop | Action::Restart | Action::Start | Action::Again);
    let is_active = |unit: &&str| old.units.active.get(*unit).is_some_and(|unit| unit.state == "active");
    quorum::UNITS.iter().any(is_active)
        && !changes.iter().any(|change| quorum::UNITS.contains(&change.unit.as_str()) && disturbs(change.action))
}

/// Whether the host's etcd does not run, asked right now. Without an answer it counts as running.
fn is_down(host: &Host) -> bool {
    gather(&*host.remote).is_ok_and(|facts| !facts.etcd_active)
}

/// Once an activation has begun, only the host can say what became of it.
fn unknown(error: StepError) -> StepError {
    match error {
        StepError::Remote(error) => {
            // The node's name, with which it begins, is at the beginning of the line anyway.
            let text = chain(&error);
            StepError::Unknown { why: text.split_once(": ").map_or(text.clone(), |(_, why)| why.to_owned()) }
        }
        error => error,
    }
}
