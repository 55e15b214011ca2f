//! Actions: they take time, and change the state when they end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::effect::{Effect, Status, Target};
use super::errors::{id_of, missing, refused};
use super::list::list;
use super::{Catalogue, DigitalOcean};
use crate::machines::Job;
use crate::message::{Call, Handled, Problem, Provider, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[("GET", "/v2/actions", all), ("GET", "/v2/actions/{action_id}", one)];

/// A change that takes time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Action {
    /// Unique in the account.
    pub id: u64,
    /// Such as `power_on`.
    pub kind: String,
    /// The thing that changes.
    pub target: Target,
    /// Slug of its region.
    pub region: String,
    /// When it began.
    pub started: Moment,
    /// When it ends, unless it waits for a machine.
    pub ends: Moment,
    /// When it ended.
    pub completed: Option<Moment>,
    /// The command for its machine has not ended.
    pub waits: bool,
    /// Why it fails.
    pub failure: Option<String>,
    /// The change when it succeeds.
    pub effect: Effect,
}

impl Target {
    fn droplet(&self) -> Option<u64> {
        match self {
            Target::Droplet(id) => Some(*id),
            Target::Volume(_, droplet) | Target::ReservedIp(_, droplet) => *droplet,
        }
    }

    fn json(&self) -> (Value, &'static str) {
        match self {
            Target::Droplet(id) => (json!(id), "droplet"),
            Target::Volume(..) => (Value::Null, "volume"),
            Target::ReservedIp(ip, _) => {
                let number = ip.parse::<std::net::Ipv4Addr>().map(u32::from).ok();
                (json!(number), "reserved_ip")
            }
        }
    }
}

impl Action {
    /// The form of answers.
    pub fn json(&self) -> Value {
        let status = match (self.completed, &self.failure) {
            (None, _) => "in-progress",
            (Some(_), None) => "completed",
            (Some(_), Some(_)) => "errored",
        };
        let (id, kind) = self.target.json();
        json!({
            "id": self.id,
            "status": status,
            "type": self.kind,
            "started_at": time::text(self.started),
            "completed_at": self.completed.map(time::text),
            "resource_id": id,
            "resource_type": kind,
            "region": Catalogue::get().region_json(&self.region),
            "region_slug": self.region,
        })
    }
}

impl DigitalOcean {
    /// Begins an action, which also waits for events of a machine, and returns its form in answers.
    pub fn begin(
        &mut self,
        call: &Call,
        kind: &str,
        (target, region): (Target, &str),
        effect: Effect,
        events: Vec<Value>,
    ) -> Value {
        let id = self.id();
        let waits = self.rules.machines && !events.is_empty();
        if waits {
            let server = target.droplet().unwrap_or_default();
            self.jobs.push(Job { provider: Provider::Digitalocean, action: id, server, events, started: false });
        }
        let action = Action {
            id,
            kind: kind.to_owned(),
            target,
            region: region.to_owned(),
            started: call.now,
            ends: call.now + call.action_ms,
            completed: None,
            waits,
            failure: None,
            effect,
        };
        let json = action.json();
        self.actions.insert(id, action);
        json
    }

    /// True while an action changes a droplet.
    pub fn is_locked(&self, droplet: u64) -> bool {
        self.actions.values().any(|action| action.completed.is_none() && action.target.droplet() == Some(droplet))
    }

    /// Refuses a change of a droplet while an action runs.
    ///
    /// # Errors
    ///
    /// 422 `unprocessable_entity`.
    pub fn unlocked(&self, droplet: u64) -> Result<(), Problem> {
        if self.is_locked(droplet) { Err(refused("the droplet has a pending event")) } else { Ok(()) }
    }

    /// True while an action changes a volume or a reserved IP.
    pub fn is_changing(&self, name: &str) -> bool {
        self.actions.values().any(|action| {
            let named = matches!(&action.target, Target::Volume(id, _) | Target::ReservedIp(id, _) if id == name);
            action.completed.is_none() && named
        })
    }

    /// Ends the actions whose time has come.
    pub fn tick(&mut self, now: Moment) {
        let due = |action: &&mut Action| {
            action.completed.is_none() && !action.waits && (action.ends <= now || action.failure.is_some())
        };
        let mut ended = Vec::new();
        for action in self.actions.values_mut().filter(due) {
            action.completed = Some(action.ends.min(now).max(action.started));
            ended.push((action.target.clone(), action.effect.clone(), action.failure.is_some()));
        }
        for (target, effect, failed) in ended {
            match (failed, target.droplet()) {
                (false, _) => self.apply(&target, &effect),
                (true, Some(id)) => self.change(id, |droplet| droplet.status = Status::Off),
                (true, None) => {}
            }
        }
    }

    /// Moves the end of every action in progress to this moment.
    pub fn finish(&mut self, now: Moment) {
        for action in self.actions.values_mut().filter(|action| action.completed.is_none()) {
            action.ends = now;
        }
        self.tick(now);
    }

    fn apply(&mut self, target: &Target, effect: &Effect) {
        match (target, effect) {
            (_, Effect::None) => {}
            (Target::Droplet(id), Effect::Become(status)) => self.change(*id, |droplet| droplet.status = *status),
            (Target::Droplet(id), Effect::Rebuild(image)) => self.change(*id, |droplet| {
                droplet.image = *image;
                droplet.status = Status::Active;
            }),
            (Target::Droplet(id), Effect::Resize(size)) => self.change(*id, |droplet| droplet.size.clone_from(size)),
            (Target::Droplet(id), Effect::Ipv6) => self.change(*id, |droplet| droplet.ipv6 = true),
            (Target::Droplet(id), Effect::Destroy) => self.remove_droplet(*id),
            (Target::Volume(id, _), Effect::Volume(droplet)) => {
                self.volumes.entry(id.clone()).and_modify(|volume| volume.droplet = *droplet);
            }
            (Target::ReservedIp(ip, _), Effect::Assign(droplet)) => {
                self.reserved_ips.entry(ip.clone()).and_modify(|ip| ip.droplet = *droplet);
            }
            _ => {}
        }
    }

    /// The actions of a target, newest first.
    pub fn actions_of(&self, chosen: impl Fn(&Target) -> bool) -> Vec<Value> {
        let actions = self.actions.values().rev().filter(|action| action.kind != "destroy" && chosen(&action.target));
        actions.map(Action::json).collect()
    }

    /// One action of a target.
    ///
    /// # Errors
    ///
    /// 404 `not_found`.
    pub fn action_of(&self, call: &Call, index: usize, chosen: impl Fn(&Target) -> bool) -> Handled {
        let action = self.actions.get(&id_of(call, index, "action")?).filter(|action| chosen(&action.target));
        Ok(Reply::json(200, json!({"action": action.ok_or_else(|| missing("action"))?.json()})))
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    list(call, "actions", state.actions_of(|_| true))
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.action_of(call, 0, |_| true)
}
