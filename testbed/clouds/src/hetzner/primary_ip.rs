//! Primary IPs: the public addresses of servers.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{find, find_mut, id_of, invalid, labels_of, refused, unique_name};
use super::list::list;
use super::{Catalogue, Effect, Hetzner};
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/primary_ips", all),
    ("POST", "/primary_ips", create),
    ("GET", "/primary_ips/{id}", one),
    ("PUT", "/primary_ips/{id}", update),
    ("DELETE", "/primary_ips/{id}", delete),
    ("POST", "/primary_ips/{id}/actions/assign", assign),
    ("POST", "/primary_ips/{id}/actions/unassign", unassign),
];

/// A public address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrimaryIp {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// `ipv4` or `ipv6`.
    pub kind: String,
    /// An address, or a /64.
    pub ip: String,
    /// The server that has it.
    pub server: Option<u64>,
    /// It is deleted with its server.
    pub auto_delete: bool,
    /// Name of the location.
    pub location: String,
    /// The reverse name, if it is not the default.
    pub dns_ptr: Option<String>,
    /// Key and value.
    pub labels: Labels,
    /// When it was created.
    pub created: Moment,
}

/// The address family of a new server: an own primary IP or a new one.
#[derive(Debug, Clone, Copy)]
pub enum Public {
    /// A new primary IP that is deleted with the server.
    New(&'static str),
    /// An existing one.
    Existing(u64),
}

impl PrimaryIp {
    /// The form of answers.
    pub fn json(&self) -> Value {
        let pointers = match self.kind.as_str() {
            "ipv4" => vec![json!({"ip": self.ip, "dns_ptr": self.pointer()})],
            _ => Vec::new(),
        };
        json!({
            "id": self.id,
            "name": self.name,
            "ip": self.ip,
            "type": self.kind,
            "assignee_id": self.server,
            // Since 2026-08-01 a free address says so.
            "assignee_type": if self.server.is_some() { "server" } else { "unassigned" },
            "auto_delete": self.auto_delete,
            "blocked": false,
            "created": time::text(self.created),
            "dns_ptr": pointers,
            "labels": self.labels,
            "location": Catalogue::get().location_json(&self.location),
            "protection": {"delete": false},
        })
    }

    /// The reverse name.
    pub fn pointer(&self) -> String {
        self.dns_ptr.clone().unwrap_or_else(|| format!("static.{}.clients.example.com", self.ip))
    }
}

impl Hetzner {
    /// Gives a new server a primary IP: a new one, or an existing one that is free.
    pub fn give_primary_ip(&mut self, call: &Call, server: u64, location: &str, public: Public) {
        let kind = match public {
            Public::Existing(id) => {
                self.primary_ips.entry(id).and_modify(|ip| ip.server = Some(server));
                return;
            }
            Public::New(kind) => kind,
        };
        let id = self.id();
        let ip = PrimaryIp {
            id,
            name: format!("primary_ip-{id}"),
            kind: kind.to_owned(),
            ip: self.new_address(kind),
            server: Some(server),
            auto_delete: true,
            location: location.to_owned(),
            dns_ptr: None,
            labels: Labels::new(),
            created: call.now,
        };
        self.primary_ips.insert(id, ip);
    }

    /// The lowest public address that is not in use; a /64 of IPv6.
    pub fn new_address(&self, kind: &str) -> String {
        let prefix = self.rules.public_prefix.as_deref().unwrap_or("198.18");
        let used = |text: &String| {
            let floating = self.floating_ips.values().any(|ip| ip.ip == *text);
            let balancer = self.load_balancers.values().any(|balancer| balancer.public.contains(text));
            floating || balancer || self.primary_ips.values().any(|ip| ip.ip == *text)
        };
        let address = |number: u32| match kind {
            "ipv4" => format!("{prefix}.{}.{}", number / 250, number % 250 + 2),
            _ => format!("2001:db8:{number:x}::/64"),
        };
        (1..50_000).map(address).find(|text| !used(text)).unwrap_or_default()
    }

    /// Refuses an address that a server in a location cannot get.
    ///
    /// # Errors
    ///
    /// 412 `primary_ip_version_mismatch`; 422.
    pub fn assignable(&self, ip: &PrimaryIp, kind: &str, location: &str) -> Result<(), Problem> {
        if ip.kind != kind {
            return Err(Problem::new(412, "primary_ip_version_mismatch", format!("the primary IP is not {kind}")));
        }
        if ip.server.is_some() || self.is_changing("primary_ip", ip.id) {
            return Err(refused("primary_ip_assigned", "the primary IP is assigned"));
        }
        if ip.location != location {
            // The code is older than the removal of data centers.
            return Err(refused("primary_ip_datacenter_mismatch", "the primary IP is in another location"));
        }
        Ok(())
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "primary_ips", state.primary_ips.values().map(PrimaryIp::json).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let ip = find(&state.primary_ips, id_of(call, "primary IP")?, "primary IP")?;
    Ok(Reply::json(200, json!({"primary_ip": ip.json()})))
}

/// Creates a primary IP, for a server that is off or for none.
pub fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.primary_ips.iter().map(|(id, ip)| (*id, &ip.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let labels = labels_of(call)?.unwrap_or_default();
    let kind = call.required("type").to_owned();
    let location = &call.body["location"];
    let location = location.as_str().map(str::to_owned).or_else(|| location.as_u64().map(|id| id.to_string()));
    let server = call.number("assignee_id");
    let location = match (location, server) {
        (Some(location), None) => Catalogue::get().known_location(&location)?,
        (None, Some(id)) => find(&state.servers, id, "server")?.location.clone(),
        _ => return Err(invalid("location", "either a location or an assignee")),
    };
    if let Some(id) = server {
        receives(state, id, &kind)?;
    }
    state.within_quota("primary_ips", state.primary_ips.len(), 1)?;
    let id = state.id();
    let ip = PrimaryIp {
        id,
        name,
        ip: state.new_address(&kind),
        kind,
        server: None,
        auto_delete: call.flag("auto_delete", false),
        location,
        dns_ptr: None,
        labels,
        created: call.now,
    };
    let json = ip.json();
    state.primary_ips.insert(id, ip);
    let Some(server) = server else { return Ok(Reply::json(201, json!({"primary_ip": json}))) };
    let resources = [("server", server), ("primary_ip", id)];
    let action = state.begin(call, "create_primary_ip", &resources, Effect::Primary(id, Some(server)));
    Ok(Reply::json(201, json!({"primary_ip": json, "action": action})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "primary IP")?;
    find(&state.primary_ips, id, "primary IP")?;
    let others = state.primary_ips.iter().map(|(id, ip)| (*id, &ip.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let ip = find_mut(&mut state.primary_ips, id, "primary IP")?;
    ip.name = name.unwrap_or_else(|| ip.name.clone());
    ip.labels = labels.unwrap_or_else(|| ip.labels.clone());
    ip.auto_delete = call.flag("auto_delete", ip.auto_delete);
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "primary IP")?;
    let ip = find(&state.primary_ips, id, "primary IP")?;
    if ip.server.is_some() || state.is_changing("primary_ip", id) {
        return Err(refused("must_be_unassigned", "the primary IP is assigned"));
    }
    state.primary_ips.remove(&id);
    Ok(Reply::empty())
}

fn assign(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "primary IP")?;
    let ip = find(&state.primary_ips, id, "primary IP")?;
    let server = call.number("assignee_id").unwrap_or_default();
    if find(&state.servers, server, "server")?.location != ip.location {
        return Err(invalid("assignee_id", "the server is in another location"));
    }
    if ip.server.is_some() || state.is_changing("primary_ip", id) {
        return Err(refused("primary_ip_already_assigned", "the primary IP is assigned"));
    }
    let kind = ip.kind.clone();
    receives(state, server, &kind)?;
    let resources = [("server", server), ("primary_ip", id)];
    state.act(call, "assign_primary_ip", &resources, Effect::Primary(id, Some(server)))
}

fn unassign(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "primary IP")?;
    let ip = find(&state.primary_ips, id, "primary IP")?;
    let four = ip.kind == "ipv4";
    let server = ip.server.ok_or_else(|| refused("primary_ip_not_assigned", "the primary IP is not assigned"))?;
    state.unlocked(server)?;
    state.stopped(server)?;
    if four && state.load_balancers.values().any(|balancer| balancer.targets_publicly(server)) {
        return Err(refused("server_is_load_balancer_target", "a load balancer reaches the server by this address"));
    }
    let resources = [("server", server), ("primary_ip", id)];
    state.act(call, "unassign_primary_ip", &resources, Effect::Primary(id, None))
}

/// Refuses a server that cannot get an address of a kind: it is not off, or it has one.
fn receives(state: &Hetzner, server: u64, kind: &str) -> Result<(), Problem> {
    find(&state.servers, server, "server")?;
    state.unlocked(server)?;
    state.stopped(server)?;
    match state.primary_of(server, kind) {
        Some(_) => Err(refused(&format!("server_has_{kind}"), "the server has a primary IP of this type")),
        None => Ok(()),
    }
}
