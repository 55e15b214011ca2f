//! Firewalls: their rules, and the servers that they cover.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{find, find_mut, id_of, invalid, labels_of, refused, unique_name};
use super::list::list;
use super::server::{FIREWALLS, Server};
use super::{Effect, Hetzner};
use crate::address;
use crate::labels::{Labels, Selector};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/firewalls", all),
    ("POST", "/firewalls", create),
    ("GET", "/firewalls/{id}", one),
    ("PUT", "/firewalls/{id}", update),
    ("DELETE", "/firewalls/{id}", delete),
    ("POST", "/firewalls/{id}/actions/set_rules", set_rules),
    ("POST", "/firewalls/{id}/actions/apply_to_resources", apply),
    ("POST", "/firewalls/{id}/actions/remove_from_resources", remove),
];

/// Rules count once for each of their ranges.
const EFFECTIVE_RULES: usize = 500;

/// A firewall.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Firewall {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// Key and value.
    pub labels: Labels,
    /// When it was created.
    pub created: Moment,
    /// As answers have them.
    pub rules: Vec<Value>,
    /// Servers that it is applied to, each once.
    pub servers: Vec<u64>,
    /// Label selectors that it is applied to, each once.
    pub selectors: Vec<String>,
}

/// Something that a firewall is applied to.
enum Resource {
    Server(u64),
    Selector(String),
}

impl Hetzner {
    /// A firewall in the form of answers.
    pub fn firewall_json(&self, firewall: &Firewall) -> Value {
        let servers = firewall.servers.iter().map(|id| json!({"type": "server", "server": {"id": id}}));
        let selectors = firewall.selectors.iter().map(|selector| {
            let selected = self.servers.values().filter(|server| selects(selector, server));
            let selected = selected.map(|server| json!({"type": "server", "server": {"id": server.id}}));
            json!({
                "type": "label_selector",
                "label_selector": {"selector": selector},
                "applied_to_resources": selected.collect::<Vec<_>>(),
            })
        });
        json!({
            "id": firewall.id,
            "name": firewall.name,
            "labels": firewall.labels,
            "created": time::text(firewall.created),
            "rules": firewall.rules,
            "applied_to": servers.chain(selectors).collect::<Vec<_>>(),
        })
    }

    /// True if a firewall is applied to a server, or to labels that it has.
    pub fn firewall_covers(&self, firewall: &Firewall, server: &Server) -> bool {
        firewall.servers.contains(&server.id) || firewall.selectors.iter().any(|selector| selects(selector, server))
    }

    /// Begins the action of a firewall for each resource, or one without any.
    fn begin_for(&mut self, call: &Call, command: &str, id: u64, servers: &[u64]) -> Vec<Value> {
        let own = ("firewall", id);
        if servers.is_empty() {
            return vec![self.begin(call, command, &[own], Effect::None)];
        }
        servers.iter().map(|server| self.begin(call, command, &[("server", *server), own], Effect::None)).collect()
    }
}

fn selects(selector: &str, server: &Server) -> bool {
    Selector::parse(selector).is_some_and(|selector| selector.selects(&server.labels))
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "firewalls", state.firewalls.values().map(|firewall| state.firewall_json(firewall)).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let firewall = find(&state.firewalls, id_of(call, "firewall")?, "firewall")?;
    Ok(Reply::json(200, json!({"firewall": state.firewall_json(firewall)})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.firewalls.iter().map(|(id, firewall)| (*id, &firewall.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let rules = rules(call)?;
    let labels = labels_of(call)?.unwrap_or_default();
    state.within_quota("firewalls", state.firewalls.len(), 1)?;
    let id = state.id();
    let firewall = Firewall { id, name, labels, created: call.now, rules, servers: Vec::new(), selectors: Vec::new() };
    let resources = resources(state, &firewall, call.list("apply_to"), 422)?;
    state.firewalls.insert(id, firewall);
    let servers = add(state, id, resources)?;
    let mut actions = state.begin_for(call, "set_firewall_rules", id, &[]);
    if !call.list("apply_to").is_empty() {
        actions.extend(state.begin_for(call, "apply_firewall", id, &servers));
    }
    let firewall = find(&state.firewalls, id, "firewall")?;
    Ok(Reply::json(201, json!({"firewall": state.firewall_json(firewall), "actions": actions})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "firewall")?;
    find(&state.firewalls, id, "firewall")?;
    let others = state.firewalls.iter().map(|(id, firewall)| (*id, &firewall.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let firewall = find_mut(&mut state.firewalls, id, "firewall")?;
    firewall.name = name.unwrap_or_else(|| firewall.name.clone());
    firewall.labels = labels.unwrap_or_else(|| firewall.labels.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "firewall")?;
    let firewall = find(&state.firewalls, id, "firewall")?;
    if !firewall.servers.is_empty() || !firewall.selectors.is_empty() {
        return Err(refused("resource_in_use", "the firewall is applied to resources"));
    }
    state.firewalls.remove(&id);
    Ok(Reply::empty())
}

fn set_rules(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "firewall")?;
    let rules = rules(call)?;
    let firewall = find_mut(&mut state.firewalls, id, "firewall")?;
    firewall.rules = rules;
    let servers = firewall.servers.clone();
    let mut actions = state.begin_for(call, "set_firewall_rules", id, &[]);
    if !servers.is_empty() {
        actions.extend(state.begin_for(call, "apply_firewall", id, &servers));
    }
    Ok(Reply::json(201, json!({"actions": actions})))
}

fn apply(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "firewall")?;
    let firewall = find(&state.firewalls, id, "firewall")?;
    let resources = resources(state, firewall, call.list("apply_to"), 404)?;
    let servers = add(state, id, resources)?;
    let actions = state.begin_for(call, "apply_firewall", id, &servers);
    Ok(Reply::json(201, json!({"actions": actions})))
}

fn remove(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "firewall")?;
    let firewall = find(&state.firewalls, id, "firewall")?;
    let mut servers = Vec::new();
    let mut selectors = Vec::new();
    for resource in call.list("remove_from") {
        let resource = resource_of(resource)?;
        let applied = match &resource {
            Resource::Server(server) => firewall.servers.contains(server),
            Resource::Selector(selector) => firewall.selectors.contains(selector),
        };
        if !applied {
            return Err(not_applied(state, firewall, &resource));
        }
        match resource {
            Resource::Server(server) => servers.push(server),
            Resource::Selector(selector) => selectors.push(selector),
        }
    }
    let firewall = find_mut(&mut state.firewalls, id, "firewall")?;
    firewall.servers.retain(|server| !servers.contains(server));
    firewall.selectors.retain(|selector| !selectors.contains(selector));
    let actions = state.begin_for(call, "remove_firewall", id, &servers);
    Ok(Reply::json(201, json!({"actions": actions})))
}

fn not_applied(state: &Hetzner, firewall: &Firewall, resource: &Resource) -> Problem {
    let selected = match resource {
        Resource::Server(id) => state.servers.get(id).is_some_and(|server| state.firewall_covers(firewall, server)),
        Resource::Selector(_) => false,
    };
    match selected {
        true => refused("firewall_managed_by_label_selector", "a label selector applies the firewall to the server"),
        false => Problem::new(404, "firewall_resource_not_found", "the firewall is not applied to this resource"),
    }
}

fn resource_of(value: &Value) -> Result<Resource, Problem> {
    match (value["server"]["id"].as_u64(), value["label_selector"]["selector"].as_str()) {
        (Some(id), None) if value["type"] == "server" => Ok(Resource::Server(id)),
        (None, Some(selector)) if value["type"] == "label_selector" => Ok(Resource::Selector(selector.to_owned())),
        _ => Err(invalid("type", "takes the object of the same name only")),
    }
}

/// The resources of a body, each of which the firewall can be applied to. `missing` is the status for an unknown server.
fn resources(state: &Hetzner, firewall: &Firewall, values: &[Value], missing: u16) -> Result<Vec<Resource>, Problem> {
    let mut resources = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let resource = resource_of(value)?;
        if values.iter().take(index).any(|other| other == value) {
            return Err(refused("server_already_added", "a resource is given twice"));
        }
        match &resource {
            Resource::Server(id) => {
                let unknown = || Problem::new(missing, "firewall_resource_not_found", "the server does not exist");
                let server = state.servers.get(id).ok_or_else(unknown)?;
                if firewall.servers.contains(id) {
                    return Err(refused("firewall_already_applied", "the firewall is applied to this server"));
                }
                if ["ipv4", "ipv6"].iter().all(|kind| state.primary_of(*id, kind).is_none()) {
                    return Err(refused("private_net_only_server", "the server has no public network"));
                }
                let others = state.firewalls.values().filter(|other| state.firewall_covers(other, server));
                if others.count() >= FIREWALLS {
                    return Err(refused("resource_limit_exceeded", "a server can have 5 firewalls"));
                }
            }
            Resource::Selector(selector) => {
                Selector::parse(selector).ok_or_else(|| invalid("label_selector", "invalid"))?;
                if firewall.selectors.contains(selector) {
                    return Err(refused("firewall_already_applied", "the firewall is applied to this selector"));
                }
            }
        }
        resources.push(resource);
    }
    Ok(resources)
}

/// Applies a firewall, and returns the servers among the resources.
fn add(state: &mut Hetzner, id: u64, resources: Vec<Resource>) -> Result<Vec<u64>, Problem> {
    let firewall = find_mut(&mut state.firewalls, id, "firewall")?;
    let mut servers = BTreeSet::new();
    for resource in resources {
        match resource {
            Resource::Server(server) => drop(servers.insert(server)),
            Resource::Selector(selector) => firewall.selectors.push(selector),
        }
    }
    firewall.servers.extend(&servers);
    Ok(servers.into_iter().collect())
}

/// The rules of the body, in the form of answers.
fn rules(call: &Call) -> Result<Vec<Value>, Problem> {
    let rules: Vec<Value> = call.list("rules").iter().enumerate().map(rule).collect::<Result<_, _>>()?;
    let ranges = |rule: &Value| {
        let count = |field: &str| rule[field].as_array().map_or(0, Vec::len);
        count("source_ips") + count("destination_ips")
    };
    match rules.iter().map(ranges).sum::<usize>() > EFFECTIVE_RULES {
        true => Err(invalid("rules", "more than 500 effective rules")),
        false => Ok(rules),
    }
}

fn rule((index, rule): (usize, &Value)) -> Result<Value, Problem> {
    let wrong = |field: &str, message: &str| Err(invalid(&format!("rules.{index}.{field}"), message));
    let (own, other) = match rule["direction"].as_str() {
        Some("in") => ("source_ips", "destination_ips"),
        _ => ("destination_ips", "source_ips"),
    };
    let ranges = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
    if ranges(own).is_empty() {
        return wrong(own, "missing for this direction");
    }
    if !ranges(other).is_empty() {
        return wrong(other, "does not go with this direction");
    }
    if !ranges(own).iter().all(|range| range.as_str().is_some_and(address::is_source)) {
        return wrong(own, "not a range in CIDR notation without host bits");
    }
    let has_ports = matches!(rule["protocol"].as_str(), Some("tcp" | "udp"));
    match rule["port"].as_str() {
        None if has_ports => return wrong("port", "missing for this protocol"),
        Some(_) if !has_ports => return wrong("port", "does not go with this protocol"),
        Some(port) if !is_port(port) => return wrong("port", "not a port or a range of ports"),
        _ => {}
    }
    Ok(json!({
        "direction": rule["direction"],
        "protocol": rule["protocol"],
        "port": rule["port"],
        "source_ips": ranges("source_ips"),
        "destination_ips": ranges("destination_ips"),
        "description": rule["description"],
    }))
}

/// `80`, `1024-5000` or `any`.
fn is_port(text: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-') {
        Some((low, high)) => port(low).zip(port(high)).is_some_and(|(low, high)| low <= high),
        None => text == "any" || port(text).is_some(),
    }
}
