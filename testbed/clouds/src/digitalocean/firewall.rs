//! Firewalls.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DigitalOcean;
use super::errors::{missing, refused};
use super::list::list;
use crate::address;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/firewalls", all),
    ("POST", "/v2/firewalls", create),
    ("GET", "/v2/firewalls/{firewall_id}", one),
    ("PUT", "/v2/firewalls/{firewall_id}", replace),
    ("DELETE", "/v2/firewalls/{firewall_id}", delete),
    ("POST", "/v2/firewalls/{firewall_id}/droplets", add_droplets),
    ("DELETE", "/v2/firewalls/{firewall_id}/droplets", remove_droplets),
    ("POST", "/v2/firewalls/{firewall_id}/tags", add_tags),
    ("DELETE", "/v2/firewalls/{firewall_id}/tags", remove_tags),
    ("POST", "/v2/firewalls/{firewall_id}/rules", add_rules),
    ("DELETE", "/v2/firewalls/{firewall_id}/rules", remove_rules),
];

const INBOUND: &str = "inbound_rules";
const OUTBOUND: &str = "outbound_rules";

/// A firewall.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Firewall {
    /// UUID.
    pub id: String,
    /// Unique in the account.
    pub name: String,
    created: Moment,
    /// Until this moment its changes are pending.
    ready: Moment,
    inbound: Vec<Value>,
    outbound: Vec<Value>,
    /// Droplets that it covers, by id.
    pub droplets: Vec<u64>,
    /// Tags whose droplets it covers.
    pub tags: Vec<String>,
}

impl Firewall {
    /// The form of answers.
    pub fn json(&self, now: Moment) -> Value {
        let pending = now < self.ready;
        let changes = self.droplets.iter().filter(|_| pending);
        let changes = changes.map(|id| json!({"droplet_id": id, "removing": false, "status": "waiting"}));
        json!({
            "id": self.id,
            "status": if pending { "waiting" } else { "succeeded" },
            "created_at": time::text(self.created),
            "pending_changes": changes.collect::<Vec<_>>(),
            "name": self.name,
            "inbound_rules": self.inbound,
            "outbound_rules": self.outbound,
            "droplet_ids": self.droplets,
            "tags": self.tags,
        })
    }

    fn touch(&mut self, call: &Call) {
        self.ready = call.now + call.action_ms;
    }
}

impl DigitalOcean {
    fn firewall(&mut self, call: &Call) -> Result<&mut Firewall, Problem> {
        self.firewalls.get_mut(call.parameter(0)).ok_or_else(|| missing("firewall"))
    }

    fn known_droplets(&self, ids: &[u64]) -> Result<(), Problem> {
        match ids.iter().find(|id| !self.droplets.contains_key(id)) {
            Some(id) => Err(refused(&format!("droplet_ids: {id} does not exist"))),
            None => Ok(()),
        }
    }

    fn known_tags(&self, tags: &[String]) -> Result<(), Problem> {
        match tags.iter().find(|tag| !self.tags.contains(*tag)) {
            Some(tag) => Err(refused(&format!("tags: {tag} does not exist"))),
            None => Ok(()),
        }
    }

    /// The rules of a body's field, in the form of answers.
    fn rules(&self, call: &Call, field: &str) -> Result<Vec<Value>, Problem> {
        call.list(field).iter().map(|rule| self.rule(rule, field)).collect()
    }

    fn rule(&self, rule: &Value, field: &str) -> Result<Value, Problem> {
        let peers = if field == INBOUND { "sources" } else { "destinations" };
        let wrong = |message: &str| refused(&format!("{field}: {message}"));
        let ports = rule["ports"].as_str().unwrap_or_default();
        let ports = normal_ports(&rule["protocol"], ports).ok_or_else(|| wrong("ports: invalid"))?;
        let list = |name: &str| rule[peers][name].as_array().cloned().unwrap_or_default();
        let addresses = list("addresses");
        let valid = |address: &Value| {
            let text = address.as_str().unwrap_or_default();
            address::is_source(text) || text.parse::<std::net::IpAddr>().is_ok()
        };
        if !addresses.iter().all(valid) {
            return Err(wrong("an address is neither one nor a range without host bits"));
        }
        let tags: Vec<String> = list("tags").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        self.known_tags(&tags)?;
        let named = ["addresses", "tags", "droplet_ids", "load_balancer_uids", "kubernetes_ids"];
        if named.iter().all(|name| list(name).is_empty()) {
            return Err(wrong(&format!("{peers}: empty")));
        }
        let kept = named.iter().filter(|name| !list(name).is_empty());
        let kept: serde_json::Map<String, Value> = kept.map(|name| ((*name).to_owned(), list(name).into())).collect();
        Ok(json!({"protocol": rule["protocol"], "ports": ports, peers: kept}))
    }
}

/// `0` is every port, also for icmp.
fn normal_ports(protocol: &Value, text: &str) -> Option<String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match text {
        "0" | "all" => Some("0".to_owned()),
        _ if protocol == "icmp" => None,
        _ => match text.split_once('-') {
            Some((low, high)) => port(low).zip(port(high)).filter(|(low, high)| low < high).map(|_| text.to_owned()),
            None => port(text).map(|_| text.to_owned()),
        },
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    list(call, "firewalls", state.firewalls.values().map(|firewall| firewall.json(call.now)).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"firewall": state.firewall(call)?.json(call.now)})))
}

fn planned(state: &DigitalOcean, call: &Call, id: String) -> Result<Firewall, Problem> {
    let name = call.required("name").to_owned();
    if state.firewalls.values().any(|firewall| firewall.name == name && firewall.id != id) {
        return Err(Problem::new(409, "conflict", "another firewall has this name"));
    }
    let (inbound, outbound) = (state.rules(call, INBOUND)?, state.rules(call, OUTBOUND)?);
    if inbound.is_empty() && outbound.is_empty() {
        return Err(Problem::new(400, "bad_request", "a firewall needs a rule"));
    }
    let (droplets, tags) = (call.numbers("droplet_ids"), call.texts("tags"));
    state.known_droplets(&droplets)?;
    state.known_tags(&tags)?;
    let ready = call.now + call.action_ms;
    Ok(Firewall { id, name, created: call.now, ready, inbound, outbound, droplets, tags })
}

fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let mut firewall = planned(state, call, String::new())?;
    state.within_quota("firewalls", state.firewalls.len(), 1)?;
    firewall.id = state.uuid();
    let json = firewall.json(call.now);
    state.firewalls.insert(firewall.id.clone(), firewall);
    Ok(Reply::json(202, json!({"firewall": json})))
}

/// The whole firewall: a missing field empties it.
fn replace(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (id, created) = state.firewall(call).map(|firewall| (firewall.id.clone(), firewall.created))?;
    let mut firewall = planned(state, call, id)?;
    firewall.created = created;
    *state.firewall(call)? = firewall;
    one(state, call)
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.firewall(call)?.id.clone();
    state.firewalls.remove(&id);
    Ok(Reply::empty())
}

fn changed(state: &mut DigitalOcean, call: &Call, change: impl FnOnce(&mut Firewall)) -> Handled {
    let firewall = state.firewall(call)?;
    change(firewall);
    firewall.touch(call);
    Ok(Reply::empty())
}

fn add_droplets(state: &mut DigitalOcean, call: &Call) -> Handled {
    let ids = call.numbers("droplet_ids");
    state.known_droplets(&ids)?;
    changed(state, call, |firewall| {
        firewall.droplets.retain(|id| !ids.contains(id));
        firewall.droplets.extend(ids);
    })
}

fn remove_droplets(state: &mut DigitalOcean, call: &Call) -> Handled {
    let ids = call.numbers("droplet_ids");
    changed(state, call, |firewall| firewall.droplets.retain(|id| !ids.contains(id)))
}

fn add_tags(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tags = call.texts("tags");
    state.known_tags(&tags)?;
    changed(state, call, |firewall| {
        firewall.tags.retain(|tag| !tags.contains(tag));
        firewall.tags.extend(tags);
    })
}

fn remove_tags(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tags = call.texts("tags");
    changed(state, call, |firewall| firewall.tags.retain(|tag| !tags.contains(tag)))
}

fn add_rules(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (inbound, outbound) = (state.rules(call, INBOUND)?, state.rules(call, OUTBOUND)?);
    changed(state, call, |firewall| {
        firewall.inbound.extend(inbound);
        firewall.outbound.extend(outbound);
    })
}

fn remove_rules(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (inbound, outbound) = (state.rules(call, INBOUND)?, state.rules(call, OUTBOUND)?);
    changed(state, call, |firewall| {
        firewall.inbound.retain(|rule| !inbound.contains(rule));
        firewall.outbound.retain(|rule| !outbound.contains(rule));
    })
}
