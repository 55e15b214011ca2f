//! Reserved IPs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::effect::{Effect, Target};
use super::errors::{missing, refused};
use super::list::list;
use super::{Catalogue, DigitalOcean};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::Moment;

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/reserved_ips", all),
    ("POST", "/v2/reserved_ips", create),
    ("GET", "/v2/reserved_ips/{reserved_ip}", one),
    ("DELETE", "/v2/reserved_ips/{reserved_ip}", delete),
    ("GET", "/v2/reserved_ips/{reserved_ip}/actions", actions),
    ("POST", "/v2/reserved_ips/{reserved_ip}/actions", act),
    ("GET", "/v2/reserved_ips/{reserved_ip}/actions/{action_id}", action),
];

const PROJECT: &str = "d0000000-0000-4000-8000-000000000002";

/// A public address that moves between droplets of a region.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReservedIp {
    /// The address.
    pub ip: String,
    /// Slug.
    pub region: String,
    /// The droplet that it leads to.
    pub droplet: Option<u64>,
}

impl DigitalOcean {
    /// A reserved IP in the form of answers.
    pub fn reserved_ip_json(&self, ip: &ReservedIp, now: Moment) -> Value {
        let droplet = ip.droplet.and_then(|id| self.droplets.get(&id));
        json!({
            "ip": ip.ip,
            "droplet": droplet.map(|droplet| self.droplet_json(droplet, now)),
            "region": Catalogue::get().region_json(&ip.region),
            "locked": self.is_changing(&ip.ip),
            "project_id": PROJECT,
        })
    }

    fn reserved_ip(&self, call: &Call) -> Result<&ReservedIp, Problem> {
        self.reserved_ips.get(call.parameter(0)).ok_or_else(|| missing("reserved IP"))
    }

    fn begin_assignment(&mut self, call: &Call, ip: &str, droplet: Option<u64>) -> Result<Value, Problem> {
        let known = self.reserved_ips.get(ip).ok_or_else(|| missing("reserved IP"))?;
        let (region, old) = (known.region.clone(), known.droplet);
        let (kind, target) = match droplet {
            Some(_) => ("assign_ip", Target::ReservedIp(ip.to_owned(), droplet)),
            None => ("unassign_ip", Target::ReservedIp(ip.to_owned(), old)),
        };
        Ok(self.begin(call, kind, (target, &region), Effect::Assign(droplet), Vec::new()))
    }

    fn assignable(&self, droplet: u64, region: Option<&str>) -> Result<String, Problem> {
        let droplet = self.droplets.get(&droplet).ok_or_else(|| refused("droplet_id: it does not exist"))?;
        self.unlocked(droplet.id)?;
        if region.is_some_and(|region| region != droplet.region) {
            return Err(refused("droplet_id: it is in another region"));
        }
        if self.reserved_ips.values().any(|ip| ip.droplet == Some(droplet.id)) {
            return Err(refused("droplet_id: it has a reserved IP"));
        }
        Ok(droplet.region.clone())
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    let ips = state.reserved_ips.values().map(|ip| state.reserved_ip_json(ip, call.now));
    list(call, "reserved_ips", ips.collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    let ip = state.reserved_ip(call)?;
    Ok(Reply::json(200, json!({"reserved_ip": state.reserved_ip_json(ip, call.now)})))
}

/// Reserves an address for a region, or for a droplet.
pub fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let droplet = call.number("droplet_id");
    let region = match droplet {
        Some(id) => state.assignable(id, None)?,
        None => call.required("region").to_owned(),
    };
    Catalogue::get().known_region(&region)?;
    state.within_quota("reserved_ips", state.reserved_ips.len(), 1)?;
    let address = state.new_reserved_address();
    state.reserved_ips.insert(address.clone(), ReservedIp { ip: address.clone(), region, droplet: None });
    let mut links = json!({});
    if let Some(id) = droplet {
        let action = state.begin_assignment(call, &address, droplet)?;
        let link = |id: &Value, rel: &str, path: &str| json!([{"id": id, "rel": rel, "href": format!("{}/v2/{path}/{id}", call.origin)}]);
        links["actions"] = link(&action["id"], "assign_ip", "actions");
        links["droplets"] = link(&json!(id), "assigned_to", "droplets");
    }
    let ip = state.reserved_ips.get(&address).ok_or_else(|| missing("reserved IP"))?;
    Ok(Reply::json(202, json!({"reserved_ip": state.reserved_ip_json(ip, call.now), "links": links})))
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    let ip = state.reserved_ip(call)?.ip.clone();
    if state.is_changing(&ip) {
        return Err(refused("the reserved IP has a pending event"));
    }
    state.reserved_ips.remove(&ip);
    Ok(Reply::empty())
}

fn act(state: &mut DigitalOcean, call: &Call) -> Handled {
    let ip = state.reserved_ip(call)?;
    let (address, region, old) = (ip.ip.clone(), ip.region.clone(), ip.droplet);
    if state.is_changing(&address) {
        return Err(refused("the reserved IP has a pending event"));
    }
    let droplet = match (call.required("type"), call.number("droplet_id"), old) {
        ("assign", Some(id), None) => {
            state.assignable(id, Some(&region))?;
            Some(id)
        }
        ("assign", Some(_), Some(_)) => return Err(refused("the reserved IP is assigned")),
        ("unassign", None, Some(_)) => None,
        ("unassign", None, None) => return Err(refused("the reserved IP is not assigned")),
        _ => return Err(refused("droplet_id: goes with assign")),
    };
    let mut action = state.begin_assignment(call, &address, droplet)?;
    action["project_id"] = PROJECT.into();
    Ok(Reply::json(201, json!({"action": action})))
}

fn is_of<'a>(call: &'a Call) -> impl Fn(&Target) -> bool + 'a {
    |target| matches!(target, Target::ReservedIp(ip, _) if ip == call.parameter(0))
}

fn actions(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.reserved_ip(call)?;
    list(call, "actions", state.actions_of(is_of(call)))
}

fn action(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.reserved_ip(call)?;
    state.action_of(call, 1, is_of(call))
}
