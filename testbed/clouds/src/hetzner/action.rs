//! Actions: they take time, lock their server, and change the state when they end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{find, id_of, locked, missing};
use super::list::list;
use super::{Effect, Hetzner};
use crate::machines::Job;
use crate::message::{Call, Handled, Problem, Provider, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints of actions.
pub const ROUTES: &[Route<Hetzner>] =
    &[("GET", "/actions", many), ("GET", "/actions/{id}", one), ("GET", "/servers/{id}/actions", of_server)];

/// A change that takes time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Action {
    /// Unique in the project.
    pub id: u64,
    /// Such as `create_server`.
    pub command: String,
    /// Kinds and ids.
    pub resources: Vec<(String, u64)>,
    /// When it began.
    pub started: Moment,
    /// When it ends, unless it waits for a machine.
    pub ends: Moment,
    /// When it ended.
    pub finished: Option<Moment>,
    /// The command for its machine has not ended.
    pub waits: bool,
    /// Why it fails.
    pub failure: Option<String>,
    /// The change when it succeeds.
    pub effect: Effect,
}

impl Action {
    /// The form of answers. Progress grows with time.
    pub fn json(&self, now: Moment) -> Value {
        let status = match (self.finished, &self.failure) {
            (None, _) => "running",
            (Some(_), None) => "success",
            (Some(_), Some(_)) => "error",
        };
        let length = (self.ends - self.started).max(1);
        let progress = if self.finished.is_some() { 100 } else { ((now - self.started) * 100 / length).clamp(0, 99) };
        let resources: Vec<Value> = self.resources.iter().map(|(kind, id)| json!({"id": id, "type": kind})).collect();
        let error = self.finished.and(self.failure.as_ref());
        json!({
            "id": self.id,
            "command": self.command,
            "status": status,
            "progress": progress,
            "started": time::text(self.started),
            "finished": self.finished.map(time::text),
            "resources": resources,
            "error": error.map(|message| json!({"code": "action_failed", "message": message})),
        })
    }

    fn concerns(&self, kind: &str, id: u64) -> bool {
        self.resources.iter().any(|(one, other)| one == kind && *other == id)
    }
}

impl Hetzner {
    /// Begins an action and returns its form in answers.
    pub fn begin(&mut self, call: &Call, command: &str, resources: &[(&str, u64)], effect: Effect) -> Value {
        self.begin_with(call, command, resources, effect, Vec::new())
    }

    /// Begins an action that also waits for events of a machine.
    pub fn begin_with(
        &mut self,
        call: &Call,
        command: &str,
        resources: &[(&str, u64)],
        effect: Effect,
        events: Vec<Value>,
    ) -> Value {
        let id = self.id();
        let server = resources.iter().find(|(kind, _)| *kind == "server").map_or(0, |(_, id)| *id);
        let before = self.running_on(server).filter_map(|id| self.actions.get(&id)).map(|action| action.ends).max();
        let waits = self.rules.machines && !events.is_empty();
        if waits {
            self.jobs.push(Job { provider: Provider::Hetzner, action: id, server, events, started: false });
        }
        let action = Action {
            id,
            command: command.to_owned(),
            resources: resources.iter().map(|(kind, id)| ((*kind).to_owned(), *id)).collect(),
            started: call.now,
            ends: before.unwrap_or(call.now).max(call.now) + call.action_ms,
            finished: None,
            waits,
            failure: None,
            effect,
        };
        let json = action.json(call.now);
        self.actions.insert(id, action);
        json
    }

    /// Begins an action and answers 201 with it.
    pub fn act(&mut self, call: &Call, command: &str, resources: &[(&str, u64)], effect: Effect) -> Handled {
        Ok(Reply::json(201, json!({"action": self.begin(call, command, resources, effect)})))
    }

    /// Ids of the running actions of a server, in their order.
    pub fn running_on(&self, server: u64) -> impl Iterator<Item = u64> {
        let running = self.actions.values().filter(move |action| action.finished.is_none());
        running.filter(move |action| action.concerns("server", server)).map(|action| action.id)
    }

    /// Refuses a change of a server while an action runs.
    ///
    /// # Errors
    ///
    /// 423 `locked`.
    pub fn unlocked(&self, server: u64) -> Result<(), Problem> {
        if self.is_locked(server) { Err(locked("server")) } else { Ok(()) }
    }

    /// True while an action that is not about firewalls or load balancers changes a server.
    pub fn is_locked(&self, server: u64) -> bool {
        let actions = self.running_on(server).filter_map(|id| self.actions.get(&id));
        actions.into_iter().any(|action| !action.command.contains("firewall") && !action.command.contains("target"))
    }

    /// Refuses a change of a network while another one is in progress.
    ///
    /// # Errors
    ///
    /// 409 `conflict`.
    pub fn network_is_free(&self, network: u64) -> Result<(), Problem> {
        let mut running = self.actions.values().filter(|action| action.finished.is_none());
        match running.any(|action| action.concerns("network", network)) {
            true => Err(Problem::new(409, "conflict", "another change of this network is in progress")),
            false => Ok(()),
        }
    }

    /// True while an action of this kind of resource runs.
    pub fn is_changing(&self, kind: &str, id: u64) -> bool {
        self.actions.values().any(|action| action.finished.is_none() && action.concerns(kind, id))
    }

    /// Ends the actions whose time has come.
    pub fn tick(&mut self, now: Moment) {
        while let Some(id) = self.due(now) {
            let Some(action) = self.actions.get_mut(&id) else { return };
            action.finished = Some(action.ends.min(now).max(action.started));
            let effect = action.effect.clone();
            let failed = action.failure.is_some();
            if failed { self.undo(&effect) } else { self.apply(&effect, now) }
        }
    }

    /// Moves the end of every running action to this moment.
    pub fn finish(&mut self, now: Moment) {
        for action in self.actions.values_mut().filter(|action| action.finished.is_none()) {
            action.ends = now;
        }
        self.tick(now);
    }

    /// Actions of one server end in their order: a later one ends later, and their commands run one by one.
    fn due(&self, now: Moment) -> Option<u64> {
        let due = |action: &&Action| {
            action.finished.is_none() && !action.waits && (action.ends <= now || action.failure.is_some())
        };
        self.actions.values().find(due).map(|action| action.id)
    }
}

fn many(state: &mut Hetzner, call: &Call) -> Handled {
    let ids: Vec<u64> = call
        .query
        .get("id")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |ids| ids.iter().filter_map(Value::as_u64).collect());
    if ids.is_empty() {
        // Listing every action of a project was removed on 2025-01-30.
        return Err(Problem::new(410, "deprecated_api_endpoint", "actions are listed by their ids only"));
    }
    let actions = ids.iter().filter_map(|id| state.actions.get(id)).map(|action| action.json(call.now));
    Ok(Reply::json(200, json!({"actions": actions.collect::<Vec<_>>()})))
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let action = find(&state.actions, id_of(call, "action")?, "action")?;
    Ok(Reply::json(200, json!({"action": action.json(call.now)})))
}

fn of_server(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "server")?;
    if !state.servers.contains_key(&id) {
        return Err(missing("server", id));
    }
    let actions = state.actions.values().filter(|action| action.concerns("server", id));
    list(call, "actions", actions.map(|action| action.json(call.now)).collect())
}
