//! VPCs: private networks of a region.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::{missing, refused};
use super::list::list;
use super::{Catalogue, DigitalOcean};
use crate::address;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/vpcs", all),
    ("POST", "/v2/vpcs", create),
    ("GET", "/v2/vpcs/{vpc_id}", one),
    ("PUT", "/v2/vpcs/{vpc_id}", update),
    ("PATCH", "/v2/vpcs/{vpc_id}", update),
    ("DELETE", "/v2/vpcs/{vpc_id}", delete),
    ("GET", "/v2/vpcs/{vpc_id}/members", members),
];

/// A VPC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vpc {
    /// UUID.
    pub id: String,
    /// Unique in the account.
    pub name: String,
    description: String,
    /// Slug.
    pub region: String,
    /// Its addresses.
    pub range: Ipv4Net,
    /// Droplets of the region without another VPC are in it.
    pub default: bool,
    created: Moment,
}

impl Vpc {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "urn": format!("do:vpc:{}", self.id),
            "name": self.name,
            "description": self.description,
            "region": self.region,
            "ip_range": self.range,
            "created_at": time::text(self.created),
            "default": self.default,
        })
    }
}

impl DigitalOcean {
    /// The default VPC of a region, which the first droplet makes.
    pub fn default_vpc(&mut self, region: &str, now: Moment) -> String {
        if let Some(vpc) = self.vpcs.values().find(|vpc| vpc.region == region && vpc.default) {
            return vpc.id.clone();
        }
        let id = self.uuid();
        let vpc = Vpc {
            id: id.clone(),
            name: format!("default-{region}"),
            description: String::new(),
            region: region.to_owned(),
            range: self.free_range(),
            default: true,
            created: now,
        };
        self.vpcs.insert(id.clone(), vpc);
        id
    }

    /// The VPC of a UUID, if it is in the region.
    ///
    /// # Errors
    ///
    /// 422 `unprocessable_entity`.
    pub fn vpc_in(&self, uuid: &str, region: &str) -> Result<String, Problem> {
        let vpc = self.vpcs.get(uuid).filter(|vpc| vpc.region == region);
        vpc.map(|vpc| vpc.id.clone()).ok_or_else(|| refused("vpc_uuid: it does not exist in this region"))
    }

    /// The lowest free address of a VPC.
    pub fn free_in(&self, uuid: &str) -> Option<Ipv4Addr> {
        let droplets = self.droplets.values().filter(|droplet| droplet.vpc == uuid);
        let taken: BTreeSet<Ipv4Addr> = droplets.map(|droplet| droplet.private).collect();
        address::free(&self.vpcs.get(uuid)?.range, &taken)
    }

    /// A /20 of 10.100.0.0/14 that no VPC overlaps.
    fn free_range(&self) -> Ipv4Net {
        let all = Ipv4Net::new_assert(Ipv4Addr::new(10, 100, 0, 0), 14);
        let free = |range: &Ipv4Net| !self.vpcs.values().any(|vpc| address::overlap(&vpc.range, range));
        all.subnets(20).ok().and_then(|mut ranges| ranges.find(free)).unwrap_or(all)
    }

    fn vpc(&self, call: &Call) -> Result<&Vpc, Problem> {
        self.vpcs.get(call.parameter(0)).ok_or_else(|| missing("VPC"))
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    list(call, "vpcs", state.vpcs.values().map(Vpc::json).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"vpc": state.vpc(call)?.json()})))
}

fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (name, region) = (call.required("name").to_owned(), call.required("region").to_owned());
    Catalogue::get().known_region(&region)?;
    if state.vpcs.values().any(|vpc| vpc.name == name) {
        return Err(refused("name: another VPC has it"));
    }
    let range = match call.text("ip_range") {
        None => state.free_range(),
        Some(text) => {
            let range = address::range(text)
                .filter(|range| address::is_private(range) && (16..=28).contains(&range.prefix_len()));
            range.ok_or_else(|| refused("ip_range: not a private range of /16 to /28 without host bits"))?
        }
    };
    if state.vpcs.values().any(|vpc| address::overlap(&vpc.range, &range)) {
        return Err(refused("ip_range: overlaps another VPC"));
    }
    state.within_quota("vpcs", state.vpcs.len(), 1)?;
    let description = call.text("description").unwrap_or_default().to_owned();
    let vpc = Vpc { id: state.uuid(), name, description, region, range, default: false, created: call.now };
    let json = vpc.json();
    state.vpcs.insert(vpc.id.clone(), vpc);
    Ok(Reply::json(201, json!({"vpc": json})))
}

fn update(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.vpc(call)?.id.clone();
    if let Some(name) =
        call.text("name").filter(|name| state.vpcs.values().any(|vpc| vpc.name == *name && vpc.id != id))
    {
        return Err(refused(&format!("name: another VPC is {name}")));
    }
    if call.flag("default", false) {
        let region = state.vpc(call)?.region.clone();
        state.vpcs.values_mut().filter(|vpc| vpc.region == region).for_each(|vpc| vpc.default = vpc.id == id);
    }
    state.vpcs.entry(id).and_modify(|vpc| {
        vpc.name = call.text("name").unwrap_or(&vpc.name).to_owned();
        vpc.description = call.text("description").unwrap_or(&vpc.description).to_owned();
    });
    one(state, call)
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    let vpc = state.vpc(call)?;
    let id = vpc.id.clone();
    if vpc.default {
        return Err(Problem::new(403, "forbidden", "the default VPC of a region cannot be deleted"));
    }
    if state.droplets.values().any(|droplet| droplet.vpc == id) {
        return Err(Problem::new(403, "forbidden", "the VPC has members"));
    }
    state.vpcs.remove(&id);
    Ok(Reply::empty())
}

fn members(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = &state.vpc(call)?.id;
    let droplets = call.query_text("resource_type").is_none_or(|kind| kind == "droplet");
    let members = state.droplets.values().filter(|droplet| droplets && droplet.vpc == *id).map(|droplet| {
        json!({
            "urn": format!("do:droplet:{}", droplet.id), "name": droplet.name,
            "created_at": time::text(droplet.created),
        })
    });
    list(call, "members", members.collect())
}
