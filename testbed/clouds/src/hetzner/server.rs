//! Servers: creation, deletion, and the end of their actions.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::effect::{PrivateNet, Status};
use super::errors::{find, find_mut, id_of, invalid, labels_of, missing, refused, taken, unique_name};
use super::list::list;
use super::primary_ip::{PrimaryIp, Public};
use super::{Catalogue, Effect, Hetzner};
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints of servers, without actions.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/servers", all),
    ("POST", "/servers", create),
    ("GET", "/servers/{id}", one),
    ("PUT", "/servers/{id}", update),
    ("DELETE", "/servers/{id}", delete),
];

/// Limit of `user_data`, in bytes.
pub const USER_DATA: usize = 32 * 1024;
/// Firewalls of one server.
pub const FIREWALLS: usize = 5;

/// A server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// Lower case in answers.
    pub status: Status,
    /// When it was created.
    pub created: Moment,
    /// Name of the type.
    pub server_type: String,
    /// Name of the location.
    pub location: String,
    /// Its image, until that is deleted.
    pub image: Option<u64>,
    /// Sorted by network.
    pub private_net: Vec<PrivateNet>,
    /// The rescue system boots next, until this moment.
    pub rescue_until: Option<Moment>,
    /// Lines of the keys that may log in.
    pub ssh_keys: Vec<String>,
    /// Keys of the rescue system.
    pub rescue_keys: Vec<String>,
    /// As it was given.
    pub user_data: Option<String>,
    /// Key and value.
    pub labels: Labels,
    /// Its group.
    pub placement_group: Option<u64>,
    /// `delete` and `rebuild`.
    pub protected: (bool, bool),
    /// Size of its disk, in GB.
    pub disk: u64,
}

impl PrivateNet {
    fn json(&self) -> Value {
        json!({"network": self.network, "ip": self.ip, "alias_ips": self.alias_ips, "mac_address": self.mac})
    }
}

impl Hetzner {
    /// A server in the form of answers.
    pub fn server_json(&self, server: &Server) -> Value {
        let catalogue = Catalogue::get();
        let group = server.placement_group.and_then(|id| self.placement_groups.get(&id));
        let volumes = self.volumes.values().filter(|volume| volume.server == Some(server.id));
        let balancers = self.load_balancers.values().filter(|balancer| balancer.targets_server(server.id));
        json!({
            "id": server.id,
            "name": server.name,
            "status": server.status,
            "created": time::text(server.created),
            "public_net": self.public_net_json(server),
            "private_net": server.private_net.iter().map(PrivateNet::json).collect::<Vec<_>>(),
            "server_type": catalogue.server_type(&server.server_type).map(|one| catalogue.type_json(one, &self.rules)),
            "location": catalogue.location_json(&server.location),
            "image": server.image.and_then(|id| self.images.get(&id)).map(super::image::Image::json),
            "iso": null,
            "rescue_enabled": server.rescue_until.is_some(),
            "locked": self.is_locked(server.id),
            "backup_window": null,
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
            "included_traffic": 21_990_232_555_520_u64,
            "protection": {"delete": server.protected.0, "rebuild": server.protected.1},
            "labels": server.labels,
            "volumes": volumes.map(|volume| volume.id).collect::<Vec<_>>(),
            "load_balancers": balancers.map(|balancer| balancer.id).collect::<Vec<_>>(),
            "primary_disk_size": server.disk,
            "placement_group": group.map(|group| self.placement_group_json(group)),
        })
    }

    fn public_net_json(&self, server: &Server) -> Value {
        let [ipv4, ipv6] = ["ipv4", "ipv6"].map(|kind| self.primary_of(server.id, kind));
        let floating = self.floating_ips.values().filter(|ip| ip.server == Some(server.id));
        let firewalls: Vec<Value> = self
            .firewalls
            .values()
            .filter(|firewall| self.firewall_covers(firewall, server))
            .map(|firewall| {
                let pending = self.is_changing("firewall", firewall.id);
                json!({"id": firewall.id, "status": if pending { "pending" } else { "applied" }})
            })
            .collect();
        json!({
            "ipv4": ipv4.map(|ip| json!({"id": ip.id, "ip": ip.ip, "blocked": false, "dns_ptr": ip.pointer()})),
            "ipv6": ipv6.map(|ip| json!({"id": ip.id, "ip": ip.ip, "blocked": false, "dns_ptr": []})),
            "floating_ips": floating.map(|ip| ip.id).collect::<Vec<_>>(),
            "firewalls": firewalls,
        })
    }

    /// The primary IP of a server, by its type.
    pub fn primary_of(&self, server: u64, kind: &str) -> Option<&PrimaryIp> {
        self.primary_ips.values().find(|ip| ip.server == Some(server) && ip.kind == kind)
    }

    /// The document of the machines' command.
    pub fn machine(&self, server: &Server, event: &str) -> Value {
        let private: Vec<Value> = server
            .private_net
            .iter()
            .map(|net| json!({"ip": net.ip, "mac": net.mac, "network": self.network_label(net.network)}))
            .collect();
        let volumes = self.volumes.values().filter(|volume| volume.server == Some(server.id));
        let rescue = server.rescue_until.is_some();
        let image = server.image.and_then(|id| self.images.get(&id)).and_then(|image| image.name.clone());
        json!({
            "event": event,
            "provider": "hetzner",
            "id": server.id,
            "name": server.name,
            "image": image,
            "type": server.server_type,
            "public_ipv4": self.primary_of(server.id, "ipv4").map(|ip| &ip.ip),
            "private": private,
            "user_data": server.user_data,
            "ssh_keys": if rescue { &server.rescue_keys } else { &server.ssh_keys },
            "volumes": volumes.map(|volume| json!({"id": volume.id, "name": volume.name, "size": volume.size,
                "device": volume.device()})).collect::<Vec<_>>(),
            "rescue": rescue,
        })
    }

    /// Changes the state as an action that succeeded does.
    pub fn apply(&mut self, effect: &Effect, now: Moment) {
        match effect {
            Effect::None => {}
            Effect::Become(id, status) => self.change(*id, |server| server.status = *status),
            Effect::Boot(id) => self.change(*id, |server| {
                server.status = Status::Running;
                server.rescue_until = None;
            }),
            Effect::Delete(id) => self.remove_server(*id),
            Effect::Rebuild(id, image) => self.change(*id, |server| {
                server.image = Some(*image);
                server.status = Status::Running;
            }),
            Effect::Retype(id, name) => self.change(*id, |server| {
                server.server_type.clone_from(name);
                server.status = Status::Off;
            }),
            Effect::Rescue(id, until) => {
                self.change(*id, |server| server.rescue_until = until.filter(|moment| *moment > now));
            }
            Effect::Attach(id, net) => self.change(*id, |server| {
                server.private_net.push(net.clone());
                server.private_net.sort_by_key(|net| net.network);
            }),
            Effect::Detach(id, network) => {
                self.change(*id, |server| server.private_net.retain(|net| net.network != *network));
            }
            Effect::Aliases(id, network, addresses) => {
                let addresses: Vec<Ipv4Addr> = addresses.iter().filter_map(|text| text.parse().ok()).collect();
                self.change(*id, |server| {
                    for net in server.private_net.iter_mut().filter(|net| net.network == *network) {
                        net.alias_ips.clone_from(&addresses);
                    }
                });
            }
            Effect::Place(id, group) => self.change(*id, |server| server.placement_group = *group),
            Effect::Volume(id, server) => {
                self.volumes.entry(*id).and_modify(|volume| volume.server = *server);
            }
            Effect::Primary(id, server) => {
                self.primary_ips.entry(*id).and_modify(|ip| ip.server = *server);
            }
            Effect::Floating(id, server) => {
                self.floating_ips.entry(*id).and_modify(|ip| ip.server = *server);
            }
        }
    }

    /// Changes the state as an action that failed does: the server is off.
    pub fn undo(&mut self, effect: &Effect) {
        if let Effect::Become(id, _) | Effect::Boot(id) | Effect::Rebuild(id, _) | Effect::Delete(id) = effect {
            self.change(*id, |server| server.status = Status::Off);
        }
    }

    /// Changes a server, if it exists.
    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut Server)) {
        if let Some(server) = self.servers.get_mut(&id) {
            change(server);
        }
    }

    /// Volumes, floating IPs, and primary IPs without `auto_delete` stay.
    fn remove_server(&mut self, id: u64) {
        self.servers.remove(&id);
        self.volumes.values_mut().filter(|volume| volume.server == Some(id)).for_each(|volume| volume.server = None);
        self.floating_ips.values_mut().filter(|ip| ip.server == Some(id)).for_each(|ip| ip.server = None);
        self.primary_ips.retain(|_, ip| ip.server != Some(id) || !ip.auto_delete);
        self.primary_ips.values_mut().filter(|ip| ip.server == Some(id)).for_each(|ip| ip.server = None);
        self.firewalls.values_mut().for_each(|firewall| firewall.servers.retain(|server| *server != id));
        self.load_balancers.values_mut().for_each(|balancer| balancer.forget_server(id));
    }
}

/// The server of the path, if no action runs on it.
///
/// # Errors
///
/// 404 `not_found`, 423 `locked`.
pub fn free_server(state: &Hetzner, call: &Call) -> Result<u64, Problem> {
    let id = id_of(call, "server")?;
    find(&state.servers, id, "server")?;
    state.unlocked(id)?;
    Ok(id)
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "servers", state.servers.values().map(|server| state.server_json(server)).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let server = find(&state.servers, id_of(call, "server")?, "server")?;
    Ok(Reply::json(200, json!({"server": state.server_json(server)})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "server")?;
    find(&state.servers, id, "server")?;
    let others = state.servers.iter().map(|(id, server)| (*id, &server.name));
    let name = unique_name(call.text("name"), others, id)?;
    if let Some(name) = name.as_deref().filter(|name| !is_host_name(name)) {
        return Err(invalid("name", &format!("{name} is not a valid host name")));
    }
    let labels = labels_of(call)?;
    let server = find_mut(&mut state.servers, id, "server")?;
    server.name = name.unwrap_or_else(|| server.name.clone());
    server.labels = labels.unwrap_or_else(|| server.labels.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let server = find_mut(&mut state.servers, id, "server")?;
    if server.protected.0 {
        return Err(Problem::new(423, "protected", "the server is protected from deletion"));
    }
    server.status = Status::Deleting;
    let events = find(&state.servers, id, "server").map(|server| vec![state.machine(server, "delete")])?;
    let action = state.begin_with(call, "delete_server", &[("server", id)], Effect::Delete(id), events);
    Ok(Reply::json(200, json!({"action": action})))
}

/// Creates a server with what belongs to it.
pub fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let plan = Plan::new(state, call)?;
    let id = state.id();
    let private_net = plan.networks.iter().map(|(network, ip)| PrivateNet {
        network: *network,
        ip: *ip,
        alias_ips: Vec::new(),
        mac: mac(id, *network),
    });
    let server = Server {
        id,
        name: call.required("name").to_owned(),
        status: Status::Initializing,
        created: call.now,
        server_type: plan.server_type,
        location: plan.location.clone(),
        image: Some(plan.image),
        private_net: private_net.collect(),
        rescue_until: None,
        ssh_keys: plan.keys,
        rescue_keys: Vec::new(),
        user_data: call.text("user_data").map(str::to_owned),
        labels: plan.labels,
        placement_group: call.number("placement_group"),
        protected: (false, false),
        disk: plan.disk,
    };
    let without_key = server.ssh_keys.is_empty();
    state.servers.insert(id, server);
    for public in plan.public {
        state.give_primary_ip(call, id, &plan.location, public);
    }
    for firewall in plan.firewalls {
        state.firewalls.entry(firewall).and_modify(|firewall| firewall.servers.push(id));
    }
    for volume in call.numbers("volumes") {
        state.volumes.entry(volume).and_modify(|volume| volume.server = Some(id));
    }
    let (action, next) = create_actions(state, call, id)?;
    let server = find(&state.servers, id, "server")?;
    Ok(Reply::json(
        201,
        json!({
            "server": state.server_json(server),
            "action": action,
            "next_actions": next,
            "root_password": without_key.then_some("made-up-root-password"),
        }),
    ))
}

fn create_actions(state: &mut Hetzner, call: &Call, id: u64) -> Result<(Value, Vec<Value>), Problem> {
    let server = find(&state.servers, id, "server")?;
    let [made, boots] = ["create", "poweron"].map(|event| vec![state.machine(server, event)]);
    let resources = [("server", id)];
    let created = Effect::Become(id, Status::Off);
    let action = state.begin_with(call, "create_server", &resources, created, made);
    if !call.flag("start_after_create", true) {
        return Ok((action, Vec::new()));
    }
    let start = state.begin_with(call, "start_server", &resources, Effect::Boot(id), boots);
    Ok((action, vec![start]))
}

/// A creation that can only succeed.
struct Plan {
    server_type: String,
    location: String,
    image: u64,
    disk: u64,
    keys: Vec<String>,
    networks: Vec<(u64, Ipv4Addr)>,
    firewalls: BTreeSet<u64>,
    public: Vec<Public>,
    labels: Labels,
}

impl Plan {
    fn new(state: &Hetzner, call: &Call) -> Result<Plan, Problem> {
        let name = call.required("name");
        if !is_host_name(name) {
            return Err(invalid("name", "not a valid host name"));
        }
        if state.servers.values().any(|server| server.name == name) {
            return Err(taken("name"));
        }
        if call.text("user_data").is_some_and(|data| data.len() > USER_DATA) {
            return Err(invalid("user_data", "longer than 32 KiB"));
        }
        let (server_type, location, disk) = state.placed_type(call)?;
        let architecture = Catalogue::get().server_type(&server_type).map_or("", |one| one.architecture.as_str());
        let image = state.image_for(call.required("image"), architecture)?;
        let public = public(state, call, &location)?;
        let networks = networks(state, call, &location)?;
        if public.is_empty() && networks.is_empty() && call.flag("start_after_create", true) {
            return Err(invalid("public_net", "a server needs a public or a private network"));
        }
        if let Some(group) = call.number("placement_group") {
            state.placeable(group)?;
        }
        volumes(state, call, &location)?;
        state.within_quota("servers", state.servers.len(), 1)?;
        Ok(Plan {
            server_type,
            location,
            image,
            disk,
            keys: keys(state, call)?,
            networks,
            firewalls: firewalls(state, call, &public)?,
            public,
            labels: labels_of(call)?.unwrap_or_default(),
        })
    }
}

fn public(state: &Hetzner, call: &Call, location: &str) -> Result<Vec<Public>, Problem> {
    let net = &call.body["public_net"];
    let mut chosen = Vec::new();
    for (kind, enable, field) in [("ipv4", "enable_ipv4", "ipv4"), ("ipv6", "enable_ipv6", "ipv6")] {
        if !net[enable].as_bool().unwrap_or(true) {
            continue;
        }
        let Some(id) = net[field].as_u64() else {
            chosen.push(Public::New(kind));
            continue;
        };
        let ip = find(&state.primary_ips, id, "primary IP")?;
        state.assignable(ip, kind, location)?;
        chosen.push(Public::Existing(id));
    }
    let new = chosen.iter().filter(|one| matches!(one, Public::New(_))).count();
    state.within_quota("primary_ips", state.primary_ips.len(), new)?;
    Ok(chosen)
}

fn networks(state: &Hetzner, call: &Call, location: &str) -> Result<Vec<(u64, Ipv4Addr)>, Problem> {
    let ids: BTreeSet<u64> = call.numbers("networks").into_iter().collect();
    let mut chosen: Vec<(u64, Ipv4Addr)> = Vec::new();
    for id in ids {
        state.network_is_free(id)?;
        let others: Vec<u64> = chosen.iter().map(|(network, _)| *network).collect();
        state.networks_apart(id, &others)?;
        chosen.push((id, state.address_in(id, location, None, None)?));
    }
    Ok(chosen)
}

fn volumes(state: &Hetzner, call: &Call, location: &str) -> Result<(), Problem> {
    for id in call.numbers("volumes") {
        let volume = find(&state.volumes, id, "volume")?;
        if volume.location != location {
            return Err(invalid("volumes", "the volume is in another location"));
        }
        if volume.server.is_some() {
            return Err(refused("volume_already_attached", "the volume is attached to a server"));
        }
    }
    Ok(())
}

fn firewalls(state: &Hetzner, call: &Call, public: &[Public]) -> Result<BTreeSet<u64>, Problem> {
    let ids: BTreeSet<u64> = call.list("firewalls").iter().filter_map(|one| one["firewall"].as_u64()).collect();
    for id in &ids {
        find(&state.firewalls, *id, "firewall")?;
    }
    if ids.len() > FIREWALLS {
        return Err(refused("resource_limit_exceeded", "a server can have 5 firewalls"));
    }
    if !ids.is_empty() && public.is_empty() {
        return Err(invalid("firewalls", "a server without a public network cannot have firewalls"));
    }
    Ok(ids)
}

fn keys(state: &Hetzner, call: &Call) -> Result<Vec<String>, Problem> {
    let find_key = |wanted: &String| {
        let by = |key: &&super::ssh_key::SshKey| key.name == *wanted || key.id.to_string() == *wanted;
        state.ssh_keys.values().find(by).map(|key| key.public_key.clone()).ok_or_else(|| missing("SSH key", wanted))
    };
    call.texts("ssh_keys").iter().map(find_key).collect()
}

/// RFC 1123: letters, digits and hyphens, in parts with dots.
pub fn is_host_name(name: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        bytes.len() <= 63 && end(bytes.first()) && end(bytes.last()) && bytes.iter().all(inner)
    };
    name.len() <= 253 && name.split('.').all(part)
}

/// A locally administered address that is the same for the same pair.
pub fn mac(server: u64, network: u64) -> String {
    let number = server.wrapping_mul(0x9E37_79B9).wrapping_add(network) & 0xFFFF_FFFF;
    let bytes = number.to_be_bytes();
    let last: Vec<String> = bytes.iter().skip(4).map(|byte| format!("{byte:02x}")).collect();
    format!("86:00:{}", last.join(":"))
}
