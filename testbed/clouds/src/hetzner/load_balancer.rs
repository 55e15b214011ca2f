//! Load balancers: targets, services, private networks.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{find, find_mut, id_of, invalid, labels_of, locked, refused, unique_name};
use super::list::list;
use super::{Catalogue, Effect, Hetzner};
use crate::labels::{Labels, Selector};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/load_balancers", all),
    ("POST", "/load_balancers", create),
    ("GET", "/load_balancers/{id}", one),
    ("PUT", "/load_balancers/{id}", update),
    ("DELETE", "/load_balancers/{id}", delete),
    ("POST", "/load_balancers/{id}/actions/add_target", add_target),
    ("POST", "/load_balancers/{id}/actions/remove_target", remove_target),
    ("POST", "/load_balancers/{id}/actions/add_service", add_service),
    ("POST", "/load_balancers/{id}/actions/delete_service", delete_service),
    ("POST", "/load_balancers/{id}/actions/attach_to_network", attach),
    ("POST", "/load_balancers/{id}/actions/detach_from_network", detach),
];

/// A load balancer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    kind: String,
    location: String,
    /// IPv4 and IPv6; none without a public interface.
    pub public: Vec<String>,
    private: Vec<(u64, Ipv4Addr)>,
    algorithm: String,
    services: Vec<Value>,
    targets: Vec<Target>,
    labels: Labels,
    created: Moment,
}

/// A target without its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Server(u64, bool),
    Selector(String, bool),
    Address(String),
}

impl Target {
    /// True for the same target, by any interface.
    fn is(&self, other: &Target) -> bool {
        match (self, other) {
            (Target::Server(one, _), Target::Server(two, _)) => one == two,
            (Target::Selector(one, _), Target::Selector(two, _)) => one == two,
            (one, two) => one == two,
        }
    }

    fn is_private(&self) -> bool {
        matches!(self, Target::Server(_, true) | Target::Selector(_, true))
    }
}

impl LoadBalancer {
    /// True if it is in the network.
    pub fn is_in(&self, network: u64) -> bool {
        self.address_in(network).is_some()
    }

    /// Its address in a network.
    pub fn address_in(&self, network: u64) -> Option<Ipv4Addr> {
        self.private.iter().find(|(id, _)| *id == network).map(|(_, ip)| *ip)
    }

    /// Takes it out of a network that is deleted.
    pub fn leave(&mut self, network: u64) {
        self.private.retain(|(id, _)| *id != network);
    }

    /// True if the server is a target by its id.
    pub fn targets_server(&self, server: u64) -> bool {
        self.targets.iter().any(|target| target.is(&Target::Server(server, false)))
    }

    /// True if it reaches the server by its public address.
    pub fn targets_publicly(&self, server: u64) -> bool {
        self.targets.contains(&Target::Server(server, false))
    }

    /// Removes a server that is deleted from the targets.
    pub fn forget_server(&mut self, server: u64) {
        self.targets.retain(|target| !target.is(&Target::Server(server, false)));
    }

    fn health(&self) -> Vec<Value> {
        let ports = self.services.iter().map(|service| &service["listen_port"]);
        ports.map(|port| json!({"listen_port": port, "status": "healthy"})).collect()
    }
}

impl Hetzner {
    /// A load balancer in the form of answers.
    pub fn load_balancer_json(&self, balancer: &LoadBalancer) -> Value {
        let catalogue = Catalogue::get();
        let address = |index: usize| json!({"ip": balancer.public.get(index), "dns_ptr": null});
        let private = balancer.private.iter().map(|(network, ip)| json!({"network": network, "ip": ip}));
        let kind = catalogue.load_balancer_type(&balancer.kind).map(|one| catalogue.balancer_type_json(one));
        let targets: Vec<Value> = balancer.targets.iter().map(|target| self.target_json(balancer, target)).collect();
        json!({
            "id": balancer.id,
            "name": balancer.name,
            "public_net": {"enabled": !balancer.public.is_empty(), "ipv4": address(0), "ipv6": address(1)},
            "private_net": private.collect::<Vec<_>>(),
            "location": catalogue.location_json(&balancer.location),
            "load_balancer_type": kind,
            "protection": {"delete": false},
            "labels": balancer.labels,
            "targets": targets,
            "services": balancer.services,
            "algorithm": {"type": balancer.algorithm},
            "created": time::text(balancer.created),
            "included_traffic": 21_990_232_555_520_u64,
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
        })
    }

    fn target_json(&self, balancer: &LoadBalancer, target: &Target) -> Value {
        match target {
            Target::Server(id, private) => json!({
                "type": "server", "server": {"id": id}, "use_private_ip": private, "health_status": balancer.health(),
            }),
            Target::Address(ip) => json!({"type": "ip", "ip": {"ip": ip}, "health_status": balancer.health()}),
            Target::Selector(text, private) => {
                let selector = Selector::parse(text);
                let selected = self
                    .servers
                    .values()
                    .filter(|server| selector.as_ref().is_some_and(|selector| selector.selects(&server.labels)));
                let servers = selected.map(|server| self.target_json(balancer, &Target::Server(server.id, *private)));
                json!({
                    "type": "label_selector", "label_selector": {"selector": text}, "use_private_ip": private,
                    "targets": servers.collect::<Vec<_>>(),
                })
            }
        }
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    let balancers = state.load_balancers.values().map(|balancer| state.load_balancer_json(balancer));
    list(call, "load_balancers", balancers.collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let balancer = find(&state.load_balancers, id_of(call, "load balancer")?, "load balancer")?;
    Ok(Reply::json(200, json!({"load_balancer": state.load_balancer_json(balancer)})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.load_balancers.iter().map(|(id, balancer)| (*id, &balancer.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let labels = labels_of(call)?.unwrap_or_default();
    let catalogue = Catalogue::get();
    let kind = call.required("load_balancer_type");
    catalogue.load_balancer_type(kind).ok_or_else(|| invalid("load_balancer_type", "unknown"))?;
    let location = match (call.text("location"), call.text("network_zone")) {
        (Some(location), None) => catalogue.known_location(location)?,
        (None, Some(zone)) => catalogue.location_in(zone).ok_or_else(|| invalid("network_zone", "unknown"))?,
        _ => return Err(invalid("location", "either a location or a network zone")),
    };
    state.within_quota("load_balancers", state.load_balancers.len(), 1)?;
    let mut balancer = LoadBalancer {
        id: 0,
        name,
        kind: kind.to_owned(),
        private: Vec::new(),
        public: Vec::new(),
        algorithm: call.body["algorithm"]["type"].as_str().unwrap_or("round_robin").to_owned(),
        services: Vec::new(),
        targets: Vec::new(),
        labels,
        created: call.now,
        location,
    };
    if let Some(network) = call.number("network") {
        state.network_is_free(network)?;
        balancer.private.push((network, state.address_in(network, &balancer.location, None, None)?));
    }
    for service in call.list("services") {
        let service = new_service(&balancer, service)?;
        balancer.services.push(service);
    }
    for target in call.list("targets") {
        let target = new_target(state, &balancer, target)?;
        balancer.targets.push(target);
    }
    if call.flag("public_interface", true) {
        balancer.public = vec![state.new_address("ipv4"), state.new_address("ipv6").replace("/64", "1")];
    }
    let id = state.id();
    balancer.id = id;
    let json = state.load_balancer_json(&balancer);
    state.load_balancers.insert(id, balancer);
    let action = state.begin(call, "create_load_balancer", &[("load_balancer", id)], Effect::None);
    Ok(Reply::json(201, json!({"load_balancer": json, "action": action})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "load balancer")?;
    find(&state.load_balancers, id, "load balancer")?;
    let others = state.load_balancers.iter().map(|(id, balancer)| (*id, &balancer.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let balancer = find_mut(&mut state.load_balancers, id, "load balancer")?;
    balancer.name = name.unwrap_or_else(|| balancer.name.clone());
    balancer.labels = labels.unwrap_or_else(|| balancer.labels.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    state.load_balancers.remove(&id);
    Ok(Reply::empty())
}

fn add_target(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    let balancer = find(&state.load_balancers, id, "load balancer")?;
    let target = new_target(state, balancer, &call.body)?;
    find_mut(&mut state.load_balancers, id, "load balancer")?.targets.push(target);
    state.act(call, "add_target", &[("load_balancer", id)], Effect::None)
}

fn remove_target(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    let target = target_of(&call.body)?;
    let balancer = find_mut(&mut state.load_balancers, id, "load balancer")?;
    let before = balancer.targets.len();
    balancer.targets.retain(|other| !other.is(&target));
    if balancer.targets.len() == before {
        return Err(refused("load_balancer_target_not_found", "the load balancer does not have this target"));
    }
    state.act(call, "remove_target", &[("load_balancer", id)], Effect::None)
}

fn add_service(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    let balancer = find_mut(&mut state.load_balancers, id, "load balancer")?;
    let service = new_service(balancer, &call.body)?;
    balancer.services.push(service);
    state.act(call, "add_service", &[("load_balancer", id)], Effect::None)
}

fn delete_service(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    let balancer = find_mut(&mut state.load_balancers, id, "load balancer")?;
    let before = balancer.services.len();
    balancer.services.retain(|service| service["listen_port"] != call.body["listen_port"]);
    if balancer.services.len() == before {
        return Err(Problem::new(404, "not_found", "no service listens on this port"));
    }
    state.act(call, "delete_service", &[("load_balancer", id)], Effect::None)
}

fn attach(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    let network = call.number("network").unwrap_or_default();
    find(&state.networks, network, "network")?;
    state.network_is_free(network)?;
    let balancer = find(&state.load_balancers, id, "load balancer")?;
    if !balancer.private.is_empty() {
        return Err(refused("load_balancer_already_attached", "the load balancer is in a network"));
    }
    let location = balancer.location.clone();
    let ip = state.address_in(network, &location, call.text("ip"), call.text("ip_range"))?;
    find_mut(&mut state.load_balancers, id, "load balancer")?.private.push((network, ip));
    state.act(call, "attach_to_network", &[("load_balancer", id), ("network", network)], Effect::None)
}

fn detach(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_balancer(state, call)?;
    let network = call.number("network").unwrap_or_default();
    state.network_is_free(network)?;
    let balancer = find_mut(&mut state.load_balancers, id, "load balancer")?;
    if !balancer.is_in(network) {
        return Err(refused("load_balancer_not_attached_to_network", "the load balancer is not in this network"));
    }
    if balancer.targets.iter().any(Target::is_private) {
        return Err(refused("targets_without_use_private_ip", "targets use the private network"));
    }
    balancer.leave(network);
    state.act(call, "detach_from_network", &[("load_balancer", id), ("network", network)], Effect::None)
}

fn free_balancer(state: &Hetzner, call: &Call) -> Result<u64, Problem> {
    let id = id_of(call, "load balancer")?;
    find(&state.load_balancers, id, "load balancer")?;
    if state.is_changing("load_balancer", id) { Err(locked("load balancer")) } else { Ok(id) }
}

fn target_of(body: &Value) -> Result<Target, Problem> {
    let private = body["use_private_ip"].as_bool().unwrap_or(false);
    let server = body["server"]["id"].as_u64();
    let selector = body["label_selector"]["selector"].as_str();
    let address = body["ip"]["ip"].as_str();
    match (body["type"].as_str(), server, selector, address) {
        (Some("server"), Some(id), None, None) => Ok(Target::Server(id, private)),
        (Some("label_selector"), None, Some(selector), None) => Ok(Target::Selector(selector.to_owned(), private)),
        (Some("ip"), None, None, Some(ip)) if !private => Ok(Target::Address(ip.to_owned())),
        _ => Err(invalid("type", "takes the object of the same name only")),
    }
}

fn new_target(state: &Hetzner, balancer: &LoadBalancer, body: &Value) -> Result<Target, Problem> {
    let target = target_of(body)?;
    let kind = Catalogue::get().load_balancer_type(&balancer.kind);
    if kind.is_some_and(|kind| balancer.targets.len() >= kind.max_targets) {
        return Err(refused("resource_limit_exceeded", "the type does not have more targets"));
    }
    if balancer.targets.iter().any(|other| other.is(&target)) {
        return Err(refused("target_already_defined", "the load balancer has this target"));
    }
    if target.is_private() && balancer.private.is_empty() {
        return Err(refused("load_balancer_not_attached_to_network", "the load balancer is not in a network"));
    }
    // A new load balancer gets its addresses after its targets.
    if !target.is_private() && balancer.public.is_empty() && balancer.id != 0 {
        return Err(refused("load_balancer_public_interface_disabled", "the load balancer has no public address"));
    }
    match &target {
        Target::Server(id, private) => {
            let server = find(&state.servers, *id, "server")?;
            if *private && !server.private_net.iter().any(|net| balancer.is_in(net.network)) {
                return Err(refused("resolve_cloud_private_targets_error", "the server is not in the network"));
            }
            if !*private && state.primary_of(*id, "ipv4").is_none() {
                return Err(refused("resolve_cloud_public_targets_error", "the server has no public IPv4 address"));
            }
        }
        Target::Selector(selector, _) => {
            Selector::parse(selector).ok_or_else(|| invalid("label_selector", "invalid"))?;
        }
        Target::Address(ip) => {
            ip.parse::<Ipv4Addr>().map_err(|_| invalid("ip", "not an address"))?;
            if !state.primary_ips.values().any(|primary| primary.ip == *ip && primary.server.is_some()) {
                return Err(refused("ip_not_owned", "no server of the project has this address"));
            }
        }
    }
    Ok(target)
}

fn new_service(balancer: &LoadBalancer, body: &Value) -> Result<Value, Problem> {
    let kind = Catalogue::get().load_balancer_type(&balancer.kind);
    if kind.is_some_and(|kind| balancer.services.len() >= kind.max_services) {
        return Err(refused("resource_limit_exceeded", "the type does not have more services"));
    }
    if balancer.services.iter().any(|service| service["listen_port"] == body["listen_port"]) {
        return Err(Problem::new(412, "source_port_already_used", "another service listens on this port"));
    }
    let has_http = body.get("http").is_some();
    if (body["protocol"] == "tcp") == has_http {
        return Err(invalid("http", "goes with the protocols http and https"));
    }
    if (body["health_check"]["protocol"] == "tcp") == body["health_check"].get("http").is_some() {
        return Err(invalid("health_check.http", "goes with the protocol http"));
    }
    if body["protocol"] == "https" && body["http"]["certificates"].as_array().is_none_or(Vec::is_empty) {
        return Err(invalid("http.certificates", "missing for this protocol"));
    }
    Ok(body.clone())
}
