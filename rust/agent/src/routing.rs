//! The routing loop: applies changes in etcd to haproxy with the smallest possible action.
//!
//! The routing is also written to haproxy's file a moment later: so a restarted haproxy routes as before, with or
//! without etcd and the agent.

mod pace;
mod rendering;
mod saving;
mod state;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_mesh::{
    Routing, Service, ServiceName, Settings, Store,
    change::{self, Action, Kind, ServerChange},
    command, listeners, route,
    template::{Host, Rendered, Template, TemplateError},
};
use thiserror::Error;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant as Moment, MissedTickBehavior, interval, sleep, sleep_until},
};

use self::{
    pace::Pace,
    rendering::Files,
    saving::Saving,
    state::{Running, State},
};
use crate::{
    config::{Config, chain},
    files,
    haproxy::{Haproxy, HaproxyError},
    status::Status,
    watch::News,
};

/// Time to collect further changes of the same burst.
const GATHER: Duration = Duration::from_millis(5);

/// Delay before a rejected or unwritable configuration is retried.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// Interval of the haproxy health check; ports are rescanned on every fifth one.
const ROUND: Duration = Duration::from_secs(2);
const PORTS_EVERY: u32 = 5;

/// Error applying the routing.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// The template is invalid.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// haproxy rejects a change, or is unreachable.
    #[error(transparent)]
    Haproxy(#[from] HaproxyError),
    /// A file cannot be written.
    #[error("cannot write the files in {0}")]
    File(String, #[source] io::Error),
}

/// The routing loop.
pub struct RoutingLoop {
    config: Arc<Config>,
    status: Arc<Status>,
    haproxy: Haproxy,
    template: Template,
    files: Files,
    /// The consumers' variables as last written.
    consumers: Option<String>,
    store: Store,
    state: State,
    /// Ports of applications that other programs occupy.
    taken: BTreeSet<u16>,
    wanted_ports: BTreeSet<u16>,
    rounds: u32,
    pace: Pace,
    saving: Saving,
    /// Time of the next try, after a rejected change or too many reloads.
    again: Option<Moment>,
}

impl RoutingLoop {
    /// Starts with the saved state.
    ///
    /// # Errors
    /// The template is invalid.
    pub fn new(config: Arc<Config>, status: Arc<Status>) -> Result<Self, RoutingError> {
        let own = config.template.as_ref().map(fs::read_to_string).transpose();
        let own = own.map_err(|error| RoutingError::File("the template's directory".to_owned(), error))?;
        let template = Template::read(own.as_deref())?;
        let state = files::read_state(&config.state_file());
        let why = state.as_ref().err().map(|error| format!("{}: {error}", config.state_file().display()));
        status.trouble("saved state", why);
        let store = state.ok().flatten();
        Ok(Self {
            haproxy: Haproxy::new(&config),
            files: Files::read(&config.files),
            consumers: None,
            state: if store.is_some() { State::Detached } else { State::Unknown },
            store: store.unwrap_or_default(),
            config,
            status,
            template,
            taken: BTreeSet::new(),
            wanted_ports: BTreeSet::new(),
            rounds: 0,
            pace: Pace::default(),
            saving: Saving::default(),
            again: None,
        })
    }

    /// Routes until the sender of news is dropped.
    pub async fn run(mut self, mut news: Receiver<News>) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.status.with(|facts| facts.alive = Instant::now());
            let write = self.saving.due();
            tokio::select! {
                received = news.recv() => match received {
                    Some(first) => {
                        sleep(GATHER).await;
                        let mut changed = self.update_store(first);
                        while let Ok(next) = news.try_recv() {
                            changed |= self.update_store(next);
                        }
                        if changed {
                            self.apply().await;
                        }
                    }
                    None => return,
                },
                _ = rounds.tick() => self.check_haproxy().await,
                () = until(self.again) => self.apply().await,
                () = until(write) => self.begin_to_write().await,
                result = self.saving.finished() => self.written(result),
            }
        }
    }

    fn update_store(&mut self, news: News) -> bool {
        match news {
            News::All(pairs) => {
                self.store = Store::of(pairs);
                self.state.known();
                true
            }
            News::Changes(changes) => {
                changes.into_iter().fold(false, |changed, change| self.store.apply(change) | changed)
            }
        }
    }

    /// Applies the desired routing to haproxy, and reports the result.
    async fn apply(&mut self) {
        self.again = None;
        if matches!(self.state, State::Unknown) {
            return;
        }
        let begun = Instant::now();
        let mut routing = self.route();
        if matches!(self.state, State::Detached) && self.scan_ports().await {
            routing = self.route();
        }
        let result = self.converge(&routing).await;
        if result.is_err() && self.state.running().is_some() {
            // A full disk is freed at some time without any event in etcd.
            self.again.get_or_insert_with(|| Moment::now() + AFTER_REFUSAL);
        }
        let is_up = !matches!(&result, Err(RoutingError::Haproxy(HaproxyError::Unreachable { .. })));
        self.status.with(|facts| {
            facts.keys = self.store.len();
            facts.services = routing.services.len();
            facts.servers = routing.services.values().map(|service| service.servers.len()).sum();
            facts.applied += 1;
            facts.last_apply = begun.elapsed();
            facts.haproxy = is_up && self.state.running().is_some();
            facts.routing = self.state.running().map(|running| Arc::clone(&running.services)).unwrap_or_default();
        });
        self.status.problems(&routing.problems);
        self.status.trouble("routing", result.err().map(|error| chain(&error)));
    }

    fn route(&mut self) -> Routing {
        let settings = Settings { groups: self.config.groups.clone(), taken: self.taken.clone() };
        let routing = route(&self.store, &settings);
        self.wanted_ports.clone_from(&routing.wanted_ports);
        routing
    }

    async fn converge(&mut self, wanted: &Routing) -> Result<(), RoutingError> {
        let Some(running) = self.state.running() else { return self.reload(&wanted.services).await };
        let lingering = change::lingering(&running.services, wanted);
        match change::action(&running.services, wanted) {
            Action::Nothing => {
                self.saving.changed(Moment::now());
                return self.write_for_consumers(&wanted.services);
            }
            Action::Servers(changes) if self.template.takes_commands() => {
                if let Err(error) = self.change(&changes).await {
                    self.status.trouble("commands", Some(chain(&error)));
                    return self.reload(&wanted.services).await;
                }
                self.status.trouble("commands", None);
                self.saving.changed(Moment::now());
            }
            Action::Servers(_) | Action::Reload => return self.reload(&wanted.services).await,
        }
        if let Some(running) = self.state.running_mut() {
            let mut services = wanted.services.clone();
            services.extend(lingering);
            running.services = Arc::new(services);
        }
        self.write_for_consumers(&wanted.services)
    }

    /// Changes servers of the running haproxy, one after the other.
    async fn change(&mut self, changes: &[ServerChange]) -> Result<(), HaproxyError> {
        let Some(Running { leaving, .. }) = self.state.running_mut() else { return Ok(()) };
        for change in changes {
            let server = (change.service.clone(), change.server.clone());
            for command in command::commands(change, leaving.contains(&server)) {
                self.haproxy.command(&command).await?;
            }
            match change.kind {
                Kind::Remove => drop(leaving.insert(server)),
                Kind::Add(_) => drop(leaving.remove(&server)),
                Kind::Address(_) | Kind::Weight(_) => {}
            }
            self.status.with(|facts| facts.commands += 1);
        }
        Ok(())
    }

    /// Installs a new configuration, if haproxy runs a different one.
    async fn reload(&mut self, services: &BTreeMap<ServiceName, Service>) -> Result<(), RoutingError> {
        if let Some(wait) = self.pace.wait(Instant::now()) {
            self.again = Some(Moment::now() + wait);
            return Ok(());
        }
        let rendered = self.render(services)?;
        let info = self.haproxy.info().await;
        let is_same =
            info.as_ref().is_ok_and(|info| info.structure == rendered.structure && !info.structure.is_empty());
        if is_same && self.template.takes_commands() {
            // After a restart of the agent the structure is unchanged: only servers may differ.
            let info = info?;
            self.state = State::Following(Running::new(info.pid, info.structure, services.clone()));
            self.reconcile().await?;
            self.saving.changed(Moment::now());
            return self.write_for_consumers(services);
        }
        let before = fs::read(self.config.haproxy_file()).ok();
        self.put(&rendered).await?;
        let structure = if self.template.takes_commands() { rendered.structure.as_str() } else { "" };
        let pid = match &info {
            Ok(info) => Some(info.pid),
            Err(HaproxyError::Unreachable { .. }) => None,
            Err(_) => Some(0),
        };
        match self.haproxy.reload(structure, pid).await {
            Ok(info) => {
                self.pace.reloaded(Instant::now());
                self.state = State::Following(Running::new(info.pid, rendered.structure, services.clone()));
                self.status.with(|facts| facts.reloads += 1);
                self.saving.changed(Moment::now());
                self.write_for_consumers(services)
            }
            // The file is installed: haproxy reads it when it starts.
            Err(error @ HaproxyError::Unreachable { .. }) => {
                self.state = State::Detached;
                Err(error.into())
            }
            Err(error) => {
                self.status.with(|facts| facts.refused += 1);
                self.put_back(before)?;
                // Most likely another program took a port: the next scan finds it.
                self.scan_ports().await;
                Err(error.into())
            }
        }
    }

    fn render(&self, services: &BTreeMap<ServiceName, Service>) -> Result<Rendered, RoutingError> {
        Ok(self.template.render(services, &self.host())?)
    }

    fn host(&self) -> Host {
        Host { socket: self.config.haproxy_socket().display().to_string(), maxconn: self.config.maxconn }
    }

    /// Checks that haproxy is still the known process, deletes removed servers without connections, and rescans the
    /// ports of other programs.
    async fn check_haproxy(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let ports_changed = self.rounds.is_multiple_of(PORTS_EVERY) && self.scan_ports().await;
        let is_due = matches!(self.state, State::Detached) && self.again.is_none();
        if is_due || ports_changed {
            return self.apply().await;
        }
        let State::Following(running) = &mut self.state else { return };
        let info = self.haproxy.info().await;
        self.status.with(|facts| facts.haproxy = info.is_ok());
        let Ok(info) = info else { return };
        if !self.template.takes_commands() {
            return;
        }
        if info.structure != running.structure {
            self.state = State::Detached;
            return self.apply().await;
        }
        if mem::replace(&mut running.pid, info.pid) != info.pid {
            let result = self.reconcile().await;
            self.status.trouble("commands", result.err().map(|error| chain(&error)));
        }
        self.delete_leaving().await;
    }

    /// Deletes removed servers that have no connections any more.
    async fn delete_leaving(&mut self) {
        let Some(Running { leaving, .. }) = self.state.running_mut() else { return };
        for (service, server) in leaving.clone() {
            if self.haproxy.command(&command::delete(&service, &server)).await.is_ok() {
                leaving.remove(&(service, server));
            }
        }
    }

    /// Updates the servers of a restarted haproxy.
    async fn reconcile(&mut self) -> Result<(), HaproxyError> {
        let Some(running) = self.state.running_mut() else { return Ok(()) };
        running.leaving.clear();
        let found = self.haproxy.servers().await?;
        let changes = command::reconcile(&found, &running.services);
        running.leaving = found.out;
        self.change(&changes).await
    }

    /// Returns `true` if other programs have taken or freed relevant ports.
    async fn scan_ports(&mut self) -> bool {
        let read = |file: &str| fs::read_to_string(file).map(|text| listeners::taken(&text)).unwrap_or_default();
        let mut taken = read("/proc/net/tcp");
        taken.extend(read("/proc/net/tcp6"));
        let own = match self.state.running() {
            Some(running) => running.services.values().map(|service| service.port).collect(),
            None if self.haproxy.info().await.is_ok() => self.ports_of_file(),
            None => BTreeSet::new(),
        };
        let taken = taken.difference(&own).filter(|port| self.wanted_ports.contains(port)).copied().collect();
        std::mem::replace(&mut self.taken, taken) != self.taken
    }

    /// The ports in the configuration of a running haproxy that a previous agent configured.
    fn ports_of_file(&self) -> BTreeSet<u16> {
        let text = fs::read_to_string(self.config.haproxy_file()).unwrap_or_default();
        let port = |line: &str| line.trim().strip_prefix("bind 127.0.0.1:")?.split(' ').next()?.parse().ok();
        text.lines().filter_map(port).collect()
    }
}

async fn until(moment: Option<Moment>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
