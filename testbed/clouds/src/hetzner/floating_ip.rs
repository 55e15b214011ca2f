//! Floating IPs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{find, find_mut, id_of, invalid, labels_of, locked, refused, unique_name};
use super::list::list;
use super::{Catalogue, Effect, Hetzner};
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/floating_ips", all),
    ("POST", "/floating_ips", create),
    ("GET", "/floating_ips/{id}", one),
    ("PUT", "/floating_ips/{id}", update),
    ("DELETE", "/floating_ips/{id}", delete),
    ("POST", "/floating_ips/{id}/actions/assign", assign),
    ("POST", "/floating_ips/{id}/actions/unassign", unassign),
];

/// A public address that moves between servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FloatingIp {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    description: Option<String>,
    kind: String,
    /// An address, or a /64.
    pub ip: String,
    /// The server that gets its packets.
    pub server: Option<u64>,
    home: String,
    labels: Labels,
    created: Moment,
}

impl FloatingIp {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "ip": self.ip,
            "type": self.kind,
            "server": self.server,
            "dns_ptr": [],
            "home_location": Catalogue::get().location_json(&self.home),
            "blocked": false,
            "protection": {"delete": false},
            "labels": self.labels,
            "created": time::text(self.created),
        })
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "floating_ips", state.floating_ips.values().map(FloatingIp::json).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let ip = find(&state.floating_ips, id_of(call, "floating IP")?, "floating IP")?;
    Ok(Reply::json(200, json!({"floating_ip": ip.json()})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.floating_ips.iter().map(|(id, ip)| (*id, &ip.name));
    let name = unique_name(call.text("name"), others, 0)?;
    let labels = labels_of(call)?.unwrap_or_default();
    let server = call.number("server");
    let home = &call.body["home_location"];
    let home = home.as_str().map(str::to_owned).or_else(|| home.as_u64().map(|id| id.to_string()));
    let home = match (home, server) {
        (Some(location), _) => Catalogue::get().known_location(&location)?,
        (None, Some(id)) => find(&state.servers, id, "server")?.location.clone(),
        (None, None) => return Err(invalid("home_location", "a location or a server")),
    };
    if let Some(id) = server {
        find(&state.servers, id, "server")?;
        state.unlocked(id)?;
    }
    state.within_quota("floating_ips", state.floating_ips.len(), 1)?;
    let id = state.id();
    let kind = call.required("type").to_owned();
    let ip = FloatingIp {
        id,
        name: name.unwrap_or_else(|| format!("floating-ip-{id}")),
        description: call.text("description").map(str::to_owned),
        ip: state.new_address(&kind),
        kind,
        server: None,
        home,
        labels,
        created: call.now,
    };
    let json = ip.json();
    state.floating_ips.insert(id, ip);
    let Some(server) = server else { return Ok(Reply::json(201, json!({"floating_ip": json}))) };
    let resources = [("server", server), ("floating_ip", id)];
    let action = state.begin(call, "assign_floating_ip", &resources, Effect::Floating(id, Some(server)));
    Ok(Reply::json(201, json!({"floating_ip": json, "action": action})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "floating IP")?;
    find(&state.floating_ips, id, "floating IP")?;
    let others = state.floating_ips.iter().map(|(id, ip)| (*id, &ip.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let ip = find_mut(&mut state.floating_ips, id, "floating IP")?;
    ip.name = name.unwrap_or_else(|| ip.name.clone());
    ip.labels = labels.unwrap_or_else(|| ip.labels.clone());
    ip.description = call.text("description").map(str::to_owned).or_else(|| ip.description.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_ip(state, call)?;
    if find(&state.floating_ips, id, "floating IP")?.server.is_some() {
        return Err(refused("must_be_unassigned", "the floating IP is assigned"));
    }
    state.floating_ips.remove(&id);
    Ok(Reply::empty())
}

fn assign(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_ip(state, call)?;
    let server = call.number("server").ok_or_else(|| invalid("server", "missing"))?;
    find(&state.servers, server, "server")?;
    if find(&state.floating_ips, id, "floating IP")?.server.is_some() {
        return Err(refused("floating_ip_assigned", "the floating IP is assigned"));
    }
    state.unlocked(server)?;
    let resources = [("server", server), ("floating_ip", id)];
    state.act(call, "assign_floating_ip", &resources, Effect::Floating(id, Some(server)))
}

fn unassign(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_ip(state, call)?;
    let server = find(&state.floating_ips, id, "floating IP")?.server;
    let server = server.ok_or_else(|| refused("floating_ip_not_assigned", "the floating IP is not assigned"))?;
    state.unlocked(server)?;
    let resources = [("server", server), ("floating_ip", id)];
    state.act(call, "unassign_floating_ip", &resources, Effect::Floating(id, None))
}

fn free_ip(state: &Hetzner, call: &Call) -> Result<u64, Problem> {
    let id = id_of(call, "floating IP")?;
    find(&state.floating_ips, id, "floating IP")?;
    if state.is_changing("floating_ip", id) { Err(locked("floating IP")) } else { Ok(id) }
}
