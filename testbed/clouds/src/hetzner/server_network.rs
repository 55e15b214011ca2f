//! Actions of servers on private networks.

use std::net::Ipv4Addr;

use super::effect::PrivateNet;
use super::errors::{find, invalid, refused};
use super::server::{free_server, mac};
use super::{Effect, Hetzner};
use crate::message::{Call, Handled, Problem};
use crate::route::Route;

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("POST", "/servers/{id}/actions/attach_to_network", attach),
    ("POST", "/servers/{id}/actions/detach_from_network", detach),
    ("POST", "/servers/{id}/actions/change_alias_ips", change_aliases),
];

fn attach(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_server(state, call)?;
    let network = call.number("network").unwrap_or_default();
    find(&state.networks, network, "network")?;
    state.network_is_free(network)?;
    let server = find(&state.servers, id, "server")?;
    let attached: Vec<u64> = server.private_net.iter().map(|net| net.network).collect();
    if attached.contains(&network) {
        return Err(refused("server_already_attached", "the server is in this network"));
    }
    state.networks_apart(network, &attached)?;
    let location = server.location.clone();
    let ip = state.address_in(network, &location, call.text("ip"), call.text("ip_range"))?;
    let alias_ips = aliases(state, call, network, &[ip])?;
    let net = PrivateNet { network, ip, alias_ips, mac: mac(id, network) };
    state.act(call, "attach_to_network", &[("server", id), ("network", network)], Effect::Attach(id, net))
}

fn detach(state: &mut Hetzner, call: &Call) -> Handled {
    let (id, network) = attached(state, call)?;
    state.act(call, "detach_from_network", &[("server", id), ("network", network)], Effect::Detach(id, network))
}

fn change_aliases(state: &mut Hetzner, call: &Call) -> Handled {
    let (id, network) = attached(state, call)?;
    let server = find(&state.servers, id, "server")?;
    let own: Vec<Ipv4Addr> =
        server.private_net.iter().find(|net| net.network == network).map_or_else(Vec::new, |net| net.alias_ips.clone());
    let aliases = aliases(state, call, network, &[])?;
    let taken = state.taken_in(network);
    if let Some(other) = aliases.iter().find(|alias| taken.contains(alias) && !own.contains(alias)) {
        return Err(refused("ip_not_available", &format!("{other} is in use")));
    }
    let aliases = aliases.iter().map(ToString::to_string).collect();
    let resources = [("server", id), ("network", network)];
    state.act(call, "change_alias_ips", &resources, Effect::Aliases(id, network, aliases))
}

/// The server of the path and the network of the body, which it is in.
fn attached(state: &Hetzner, call: &Call) -> Result<(u64, u64), Problem> {
    let id = free_server(state, call)?;
    let network = call.number("network").unwrap_or_default();
    find(&state.networks, network, "network")?;
    state.network_is_free(network)?;
    match find(&state.servers, id, "server")?.private_net.iter().any(|net| net.network == network) {
        true => Ok((id, network)),
        false => Err(refused("server_not_attached_to_network", "the server is not in this network")),
    }
}

/// The alias addresses of the body: within a subnet; and free, where this is an attachment.
fn aliases(state: &Hetzner, call: &Call, network: u64, own: &[Ipv4Addr]) -> Result<Vec<Ipv4Addr>, Problem> {
    let taken = state.taken_in(network);
    let mut aliases = Vec::new();
    for text in call.texts("alias_ips") {
        let address: Ipv4Addr = text.parse().map_err(|_| invalid("alias_ips", &format!("{text} is not an address")))?;
        if !state.is_in_subnet(network, address) {
            return Err(invalid("alias_ips", &format!("{text} is in no subnet of the network")));
        }
        let attaches = !own.is_empty();
        if own.contains(&address) || aliases.contains(&address) || (attaches && taken.contains(&address)) {
            return Err(refused("ip_not_available", &format!("{text} is in use")));
        }
        aliases.push(address);
    }
    Ok(aliases)
}
