//! Private networks, their subnets and routes.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{find, find_mut, id_of, invalid, labels_of, missing, refused, unique_name};
use super::list::list;
use super::{Catalogue, Effect, Hetzner};
use crate::address;
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/networks", all),
    ("POST", "/networks", create),
    ("GET", "/networks/{id}", one),
    ("PUT", "/networks/{id}", update),
    ("DELETE", "/networks/{id}", delete),
    ("POST", "/networks/{id}/actions/add_subnet", add_subnet),
    ("POST", "/networks/{id}/actions/delete_subnet", delete_subnet),
    ("POST", "/networks/{id}/actions/add_route", add_route),
    ("POST", "/networks/{id}/actions/delete_route", delete_route),
];

/// The gateway of public addresses; no private address can be it.
const RESERVED: Ipv4Addr = Ipv4Addr::new(172, 31, 1, 1);
const SUBNETS: usize = 50;
const ROUTES_OF_ONE: usize = 100;

/// A private network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Network {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// The range that holds every subnet.
    pub range: Ipv4Net,
    /// In the order of their creation.
    pub subnets: Vec<Subnet>,
    /// Destination and gateway.
    pub routes: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Key and value.
    pub labels: Labels,
    /// When it was created.
    pub created: Moment,
    exposed: bool,
}

/// A part of a network in one zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subnet {
    kind: String,
    /// Its range.
    pub range: Ipv4Net,
    /// Such as `eu-central`.
    pub zone: String,
    vswitch: Option<u64>,
}

impl Subnet {
    fn json(&self, gateway: Ipv4Addr) -> Value {
        json!({
            "type": self.kind, "ip_range": self.range, "network_zone": self.zone, "gateway": gateway,
            "vswitch_id": self.vswitch,
        })
    }
}

impl Hetzner {
    /// A network in the form of answers.
    pub fn network_json(&self, network: &Network) -> Value {
        let gateway = address::gateway(&network.range);
        let servers =
            self.servers.values().filter(|server| server.private_net.iter().any(|net| net.network == network.id));
        let balancers = self.load_balancers.values().filter(|balancer| balancer.is_in(network.id));
        let routes = network.routes.iter().map(|(destination, gateway)| route_json(destination, *gateway));
        json!({
            "id": network.id,
            "name": network.name,
            "ip_range": network.range,
            "subnets": network.subnets.iter().map(|subnet| subnet.json(gateway)).collect::<Vec<_>>(),
            "routes": routes.collect::<Vec<_>>(),
            "servers": servers.map(|server| server.id).collect::<Vec<_>>(),
            "load_balancers": balancers.map(|balancer| balancer.id).collect::<Vec<_>>(),
            "protection": {"delete": false},
            "labels": network.labels,
            "created": time::text(network.created),
            "expose_routes_to_vswitch": network.exposed,
        })
    }

    /// The name of a network, for the machines' command.
    pub fn network_label(&self, id: u64) -> String {
        self.networks.get(&id).map(|network| network.name.clone()).unwrap_or_default()
    }

    /// Addresses of a network that are in use: of servers, load balancers, gateways.
    pub fn taken_in(&self, id: u64) -> BTreeSet<Ipv4Addr> {
        let nets = self.servers.values().flat_map(|server| &server.private_net).filter(|net| net.network == id);
        let servers = nets.flat_map(|net| net.alias_ips.iter().copied().chain([net.ip]));
        let balancers = self.load_balancers.values().filter_map(|balancer| balancer.address_in(id));
        let gateway = self.networks.get(&id).map(|network| address::gateway(&network.range));
        servers.chain(balancers).chain(gateway).chain([RESERVED]).collect()
    }

    /// True if a subnet of the network holds the address.
    pub fn is_in_subnet(&self, id: u64, address: Ipv4Addr) -> bool {
        self.networks
            .get(&id)
            .is_some_and(|network| network.subnets.iter().any(|subnet| subnet.range.contains(&address)))
    }

    /// An address of a network for something in a location: the wanted one, or the lowest that is free.
    ///
    /// # Errors
    ///
    /// 404; 422 `no_subnet_available`, `ip_not_available`, `invalid_input`.
    pub fn address_in(
        &self,
        id: u64,
        location: &str,
        wanted: Option<&str>,
        within: Option<&str>,
    ) -> Result<Ipv4Addr, Problem> {
        let network = find(&self.networks, id, "network")?;
        let zone = Catalogue::get().zone_of(location);
        let mut subnets: Vec<&Subnet> = network.subnets.iter().filter(|subnet| subnet.zone == zone).collect();
        if let Some(text) = within {
            let range = address::range(text).ok_or_else(|| invalid("ip_range", "not a range"))?;
            subnets.retain(|subnet| subnet.range == range);
        }
        if subnets.is_empty() {
            return Err(refused("no_subnet_available", "the network has no subnet for this location"));
        }
        let taken = self.taken_in(id);
        let Some(text) = wanted else {
            let free = subnets.iter().find_map(|subnet| address::free(&subnet.range, &taken));
            return free.ok_or_else(|| refused("no_subnet_available", "every address is in use"));
        };
        let address: Ipv4Addr = text.parse().map_err(|_| invalid("ip", "not an address"))?;
        if !subnets.iter().any(|subnet| subnet.range.contains(&address)) {
            return Err(invalid("ip", "in no subnet of the network"));
        }
        if taken.contains(&address) {
            return Err(refused("ip_not_available", "the address is in use"));
        }
        Ok(address)
    }

    /// Refuses two networks of one server with a common address.
    ///
    /// # Errors
    ///
    /// 404; 422 `networks_overlap`.
    pub fn networks_apart(&self, id: u64, others: &[u64]) -> Result<(), Problem> {
        let network = find(&self.networks, id, "network")?;
        let mut others = others.iter().filter(|other| **other != id).filter_map(|other| self.networks.get(other));
        match others.any(|other| address::overlap(&other.range, &network.range)) {
            true => Err(refused("networks_overlap", "the server is in a network with the same addresses")),
            false => Ok(()),
        }
    }

    fn subnet_in_use(&self, id: u64, range: &Ipv4Net) -> bool {
        let nets = self.servers.values().flat_map(|server| &server.private_net).filter(|net| net.network == id);
        let balancers = self.load_balancers.values().filter_map(|balancer| balancer.address_in(id));
        nets.map(|net| net.ip).chain(balancers).any(|ip| range.contains(&ip))
    }
}

fn route_json(destination: &Ipv4Net, gateway: Ipv4Addr) -> Value {
    json!({"destination": destination, "gateway": gateway})
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "networks", state.networks.values().map(|network| state.network_json(network)).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let network = find(&state.networks, id_of(call, "network")?, "network")?;
    Ok(Reply::json(200, json!({"network": state.network_json(network)})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.networks.iter().map(|(id, network)| (*id, &network.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let range = address::range(call.required("ip_range"))
        .filter(|range| address::is_private(range) && range.prefix_len() <= 24)
        .ok_or_else(|| invalid("ip_range", "not a private range of /24 or wider without host bits"))?;
    state.within_quota("networks", state.networks.len(), 1)?;
    let labels = labels_of(call)?.unwrap_or_default();
    let exposed = call.flag("expose_routes_to_vswitch", false);
    let mut network =
        Network { id: 0, name, range, subnets: Vec::new(), routes: Vec::new(), labels, created: call.now, exposed };
    for subnet in call.list("subnets") {
        let subnet = new_subnet(&network, subnet)?;
        network.subnets.push(subnet);
    }
    for route in call.list("routes") {
        let route = new_route(&network, route)?;
        network.routes.push(route);
    }
    network.id = state.id();
    let json = state.network_json(&network);
    state.networks.insert(network.id, network);
    Ok(Reply::json(201, json!({"network": json})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "network")?;
    find(&state.networks, id, "network")?;
    let others = state.networks.iter().map(|(id, network)| (*id, &network.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let network = find_mut(&mut state.networks, id, "network")?;
    network.name = name.unwrap_or_else(|| network.name.clone());
    network.labels = labels.unwrap_or_else(|| network.labels.clone());
    network.exposed = call.flag("expose_routes_to_vswitch", network.exposed);
    one(state, call)
}

/// Servers and load balancers leave the network with it.
fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "network")?;
    find(&state.networks, id, "network")?;
    state.network_is_free(id)?;
    state.networks.remove(&id);
    state.servers.values_mut().for_each(|server| server.private_net.retain(|net| net.network != id));
    state.load_balancers.values_mut().for_each(|balancer| balancer.leave(id));
    Ok(Reply::empty())
}

fn add_subnet(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_network(state, call)?;
    let subnet = new_subnet(find(&state.networks, id, "network")?, &call.body)?;
    find_mut(&mut state.networks, id, "network")?.subnets.push(subnet);
    state.act(call, "add_subnet", &[("network", id)], Effect::None)
}

fn delete_subnet(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_network(state, call)?;
    let range = address::range(call.required("ip_range")).ok_or_else(|| invalid("ip_range", "not a range"))?;
    if !find(&state.networks, id, "network")?.subnets.iter().any(|subnet| subnet.range == range) {
        return Err(missing("subnet", range));
    }
    if state.subnet_in_use(id, &range) {
        return Err(refused("resource_in_use", "servers have addresses of this subnet"));
    }
    find_mut(&mut state.networks, id, "network")?.subnets.retain(|subnet| subnet.range != range);
    state.act(call, "delete_subnet", &[("network", id)], Effect::None)
}

fn add_route(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_network(state, call)?;
    let route = new_route(find(&state.networks, id, "network")?, &call.body)?;
    find_mut(&mut state.networks, id, "network")?.routes.push(route);
    state.act(call, "add_route", &[("network", id)], Effect::None)
}

fn delete_route(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_network(state, call)?;
    let network = find_mut(&mut state.networks, id, "network")?;
    let before = network.routes.len();
    network.routes.retain(|(destination, gateway)| {
        destination.to_string() != call.required("destination") || gateway.to_string() != call.required("gateway")
    });
    if network.routes.len() == before {
        return Err(missing("route", call.required("destination")));
    }
    state.act(call, "delete_route", &[("network", id)], Effect::None)
}

fn free_network(state: &Hetzner, call: &Call) -> Result<u64, Problem> {
    let id = id_of(call, "network")?;
    find(&state.networks, id, "network")?;
    state.network_is_free(id)?;
    Ok(id)
}

fn new_subnet(network: &Network, body: &Value) -> Result<Subnet, Problem> {
    if network.subnets.len() >= SUBNETS {
        return Err(refused("resource_limit_exceeded", "a network can have 50 subnets"));
    }
    let zone = body["network_zone"].as_str().unwrap_or_default();
    if !Catalogue::get().has_zone(zone) {
        return Err(invalid("network_zone", "unknown"));
    }
    let kind = body["type"].as_str().unwrap_or_default();
    if (kind == "vswitch") != body["vswitch_id"].is_u64() {
        return Err(invalid("vswitch_id", "goes with the type vswitch"));
    }
    let range = match body["ip_range"].as_str() {
        Some(text) => address::range(text).ok_or_else(|| invalid("ip_range", "not a range without host bits"))?,
        None => free_range(network).ok_or_else(|| invalid("ip_range", "no /24 is free"))?,
    };
    if range.prefix_len() > 30 || !network.range.contains(&range) {
        return Err(invalid("ip_range", "not a range of /30 or wider within the network"));
    }
    if network.subnets.iter().any(|other| address::overlap(&other.range, &range)) {
        return Err(invalid("ip_range", "overlaps another subnet"));
    }
    Ok(Subnet { kind: kind.to_owned(), range, zone: zone.to_owned(), vswitch: body["vswitch_id"].as_u64() })
}

fn free_range(network: &Network) -> Option<Ipv4Net> {
    let mut ranges = network.range.subnets(24).ok()?;
    ranges.find(|range| !network.subnets.iter().any(|other| address::overlap(&other.range, range)))
}

fn new_route(network: &Network, body: &Value) -> Result<(Ipv4Net, Ipv4Addr), Problem> {
    if network.routes.len() >= ROUTES_OF_ONE {
        return Err(refused("resource_limit_exceeded", "a network can have 100 routes"));
    }
    let destination = body["destination"].as_str().and_then(address::range);
    let destination = destination.ok_or_else(|| invalid("destination", "not a range without host bits"))?;
    let gateway: Option<Ipv4Addr> = body["gateway"].as_str().and_then(|text| text.parse().ok());
    let gateway = gateway.ok_or_else(|| invalid("gateway", "not an address"))?;
    let usable = network.range.contains(&gateway) && gateway != address::gateway(&network.range);
    if !usable || gateway == RESERVED {
        return Err(invalid("gateway", "not an address of the network that a server can have"));
    }
    if network.routes.iter().any(|(other, _)| *other == destination) {
        return Err(invalid("destination", "the network has a route to it"));
    }
    Ok((destination, gateway))
}
