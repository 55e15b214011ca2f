//! Registers this node's instances in etcd: one key for each healthy instance, all on one lease.
//!
//! A restart of the agent deregisters nothing: its successor writes the same keys on its own lease, and the old lease
//! expires without any.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use machinist_mesh::{Instance, Key, LocalInstance, Name, Transaction, node_instances};
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        oneshot,
    },
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    backoff::Backoff,
    check::{self, HealthChange},
    config::{Config, chain},
    etcd::{Etcd, EtcdError, Member, Written},
    status::{InstanceState, Status},
};

/// A request to the registrar.
#[derive(Debug)]
pub enum Request {
    /// Take an instance out, and answer once etcd has confirmed it.
    Drain(Name, oneshot::Sender<Result<LocalInstance, String>>),
    /// Return an instance to the mesh, if it is healthy.
    Undrain(Name, oneshot::Sender<Result<LocalInstance, String>>),
    /// An instance's program starts: its previous health no longer applies.
    Start(Name),
    /// The files of the instances have changed.
    Reload,
}

/// Task that keeps the instances registered.
pub struct Registrar {
    config: Arc<Config>,
    etcd: Arc<Etcd>,
    status: Arc<Status>,
    instances: BTreeMap<Name, Managed>,
    health_changes: (Sender<HealthChange>, Receiver<HealthChange>),
    requests: Receiver<Request>,
    waiting: Vec<(Name, oneshot::Sender<Result<LocalInstance, String>>)>,
}

struct Managed {
    instance: LocalInstance,
    healthy: Option<bool>,
    draining: bool,
    task: JoinHandle<()>,
}

/// etcd's keys of this node: key to its last revision, and its value if it is on our lease.
type Known = BTreeMap<String, (i64, Option<Instance>)>;

struct Session {
    member: Member,
    lease: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    known: Known,
}

impl Registrar {
    /// Reads the node's instances and starts their checks.
    pub fn new(config: Arc<Config>, etcd: Arc<Etcd>, status: Arc<Status>, requests: Receiver<Request>) -> Self {
        let mut registrar = Self {
            config,
            etcd,
            status,
            instances: BTreeMap::new(),
            health_changes: channel(64),
            requests,
            waiting: Vec::new(),
        };
        registrar.read_instances();
        registrar
    }

    /// Keeps the instances registered for ever.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            if let Err(error) = self.session(&mut backoff).await {
                self.status.with(|facts| {
                    facts.leased = false;
                    facts.registered.clear();
                });
                self.status.trouble("registration in etcd", Some(chain(&error)));
            }
            for (_, answer) in self.waiting.drain(..) {
                // The client may have disconnected.
                let _ = answer.send(Err("etcd is unreachable".to_owned()));
            }
            let wait = sleep(backoff.wait());
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    () = &mut wait => break,
                    Some(change) = self.health_changes.1.recv() => self.update_health(&change),
                    Some(request) = self.requests.recv() => self.handle(request),
                }
            }
        }
    }

    /// One connection and one lease.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), EtcdError> {
        let mut session = self.begin().await?;
        backoff.reset();
        self.status.with(|facts| facts.leased = true);
        self.status.trouble("registration in etcd", None);
        let ttl = Duration::from_secs(self.config.lease_seconds.unsigned_abs());
        let mut ticks = interval(ttl / 4);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.converge(&mut session).await?;
            tokio::select! {
                _ = ticks.tick() => session.keep_alive(ttl / 2).await?,
                Some(change) = self.health_changes.1.recv() => self.update_health(&change),
                Some(request) = self.requests.recv() => self.handle(request),
            }
        }
    }

    async fn begin(&self) -> Result<Session, EtcdError> {
        let mut member = self.etcd.next().await?;
        let ttl = self.config.lease_seconds;
        let grant = member.request(async |client| client.lease_grant(ttl, None).await).await?;
        let lease = grant.id();
        let (keeper, answers) = member.request(async |client| client.lease_keep_alive(lease).await).await?;
        let (pairs, _) = member.list(&node_instances(&self.config.node)).await?;
        let known = pairs.into_iter().map(|pair| (pair.key, (pair.modified, None))).collect();
        Ok(Session { member, lease, keeper, answers, known })
    }

    /// Writes and deletes until etcd has the desired keys.
    async fn converge(&mut self, session: &mut Session) -> Result<(), EtcdError> {
        for step in plan(&self.instances, &session.known, session.lease) {
            let (key, transaction) = (step.key, step.transaction);
            match (session.member.write(&transaction).await?, step.puts) {
                (Written::Done(revision), Some(value)) => drop(session.known.insert(key, (revision, Some(value)))),
                (Written::Done(_) | Written::Conflict(0), _) => drop(session.known.remove(&key)),
                // The next round writes on top of the newer revision.
                (Written::Conflict(revision), _) => drop(session.known.insert(key, (revision, None))),
            }
        }
        let has = |managed: &&Managed| matches!(session.known.get(&managed.key()), Some((_, Some(_))));
        let registered = self.instances.values().filter(has).map(|managed| managed.instance.name.to_string()).collect();
        self.status.with(|facts| facts.registered = registered);
        let (instances, known) = (&self.instances, &session.known);
        let is_out = |name: &Name| instances.get(name).is_none_or(|managed| !known.contains_key(&managed.key()));
        let (done, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|(name, _)| is_out(name));
        self.waiting = rest;
        for (name, answer) in Vec::from_iter::<Vec<(Name, oneshot::Sender<_>)>>(done) {
            let managed = self.instances.get(&name).ok_or_else(|| format!("{name} was removed meanwhile"));
            // The client may have disconnected.
            let _ = answer.send(managed.map(|managed| managed.instance.clone()));
        }
        Ok(())
    }

    fn update_health(&mut self, change: &HealthChange) {
        let Some(managed) = self.instances.get_mut(&change.instance) else { return };
        managed.healthy = Some(change.healthy);
        // It was stopped after a deliberate drain; once it is healthy again, it may rejoin.
        managed.draining &= change.healthy;
        eprintln!("{} is {}", change.instance, if change.healthy { "healthy" } else { "unhealthy" });
        self.report();
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Reload => self.read_instances(),
            Request::Start(name) => {
                if let Some(managed) = self.instances.get_mut(&name) {
                    // A restart may be quicker than any check: the new process must prove its health before it joins
                    // the mesh.
                    managed.task.abort();
                    managed.task = tokio::spawn(check::run(managed.instance.clone(), self.health_changes.0.clone()));
                    managed.healthy = None;
                    managed.draining = false;
                }
            }
            Request::Drain(name, answer) => match self.instances.get_mut(&name) {
                Some(managed) => {
                    managed.draining = true;
                    self.waiting.push((name, answer));
                }
                None => drop(answer.send(Err(format!("no instance {name} on this node")))),
            },
            Request::Undrain(name, answer) => {
                let managed = self.instances.get_mut(&name).ok_or_else(|| format!("no instance {name} on this node"));
                let result = managed.map(|managed| {
                    managed.draining = false;
                    managed.instance.clone()
                });
                drop(answer.send(result));
            }
        }
        self.report();
    }

    /// Reads the files again. Unchanged instances keep their checks.
    fn read_instances(&mut self) {
        let (found, errors) = self.config.local_instances();
        let why: Vec<String> = errors.iter().map(|error| chain(error)).collect();
        self.status.trouble("files of instances", (!why.is_empty()).then(|| why.join("; ")));
        let names: BTreeSet<Name> = found.iter().map(|instance| instance.name.clone()).collect();
        self.instances.retain(|name, managed| {
            let stays = names.contains(name);
            if !stays {
                managed.task.abort();
            }
            stays
        });
        for instance in found {
            let before = self.instances.get(&instance.name);
            if before.is_some_and(|managed| managed.instance == instance) {
                continue;
            }
            let same_check = before.filter(|managed| {
                let (then, now) = (&managed.instance, &instance);
                then.check == now.check && (then.value.address, then.value.port) == (now.value.address, now.value.port)
            });
            // Only a changed check requires a new proof of health.
            let (healthy, draining) = same_check.map_or((None, false), |managed| (managed.healthy, managed.draining));
            if let Some(managed) = before {
                managed.task.abort();
            }
            let task = tokio::spawn(check::run(instance.clone(), self.health_changes.0.clone()));
            self.instances.insert(instance.name.clone(), Managed { instance, healthy, draining, task });
        }
        self.report();
    }

    fn report(&self) {
        let states = self.instances.iter().map(|(name, managed)| (name.to_string(), managed.state())).collect();
        self.status.with(|facts| facts.instances = states);
    }
}

impl Managed {
    fn key(&self) -> String {
        Key::Instance(self.instance.key.clone()).to_string()
    }

    const fn state(&self) -> InstanceState {
        match self.healthy {
            _ if self.draining => InstanceState::Draining,
            None => InstanceState::Unknown,
            Some(true) => InstanceState::Healthy,
            Some(false) => InstanceState::Unhealthy,
        }
    }
}

/// A write towards the desired keys.
struct Step {
    key: String,
    /// The value to put; `None` to delete.
    puts: Option<Instance>,
    transaction: Transaction,
}

/// Returns the necessary writes: healthy instances on our lease, others deleted. An instance without a check result
/// stays as the previous agent left it.
fn plan(instances: &BTreeMap<Name, Managed>, known: &Known, lease: i64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut ours = BTreeSet::new();
    for managed in instances.values() {
        let key = managed.key();
        let found = known.get(&key);
        match managed.state() {
            InstanceState::Unknown => {}
            InstanceState::Healthy => {
                let (at, value) = (&managed.instance.key, &managed.instance.value);
                if found.is_none_or(|(_, said)| said.as_ref() != Some(value)) {
                    let revision = found.map_or(0, |(revision, _)| *revision);
                    let transaction = Transaction::register(at, value, revision, lease);
                    steps.push(Step { key: key.clone(), puts: Some(value.clone()), transaction });
                }
            }
            InstanceState::Unhealthy | InstanceState::Draining => {
                if let Some((revision, _)) = found {
                    let transaction = Transaction::withdraw(key.clone(), *revision);
                    steps.push(Step { key: key.clone(), puts: None, transaction });
                }
            }
        }
        ours.insert(key);
    }
    let strays = known.iter().filter(|(key, _)| !ours.contains(*key));
    steps.extend(strays.map(|(key, (revision, _))| Step {
        key: key.clone(),
        puts: None,
        transaction: Transaction::withdraw(key.clone(), *revision),
    }));
    steps
}

impl Session {
    async fn keep_alive(&mut self, within: Duration) -> Result<(), EtcdError> {
        let endpoint = self.member.endpoint.clone();
        self.keeper.keep_alive().await.map_err(|error| self.member.refused(error))?;
        let answer = timeout(within, self.answers.message()).await.map_err(|_| EtcdError::Silent(endpoint.clone()))?;
        match answer.map_err(|error| self.member.refused(error))? {
            Some(answer) if answer.ttl() > 0 => Ok(()),
            Some(_) => Err(EtcdError::NoLease),
            None => Err(EtcdError::Ended(endpoint)),
        }
    }
}
