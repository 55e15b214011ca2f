//! Droplets: creation, lists, destruction.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::effect::{Effect, Status, Target};
use super::errors::{id_of, missing, refused};
use super::list::list;
use super::{Catalogue, DigitalOcean};
use crate::address;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/droplets", all),
    ("POST", "/v2/droplets", create),
    ("GET", "/v2/droplets/{droplet_id}", one),
    ("DELETE", "/v2/droplets/{droplet_id}", destroy),
    ("DELETE", "/v2/droplets/{droplet_id}/destroy_with_associated_resources/selective", destroy_selected),
];

/// Limit of `user_data`, in bytes.
const USER_DATA: usize = 64 * 1024;

/// A droplet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Droplet {
    /// Unique in the account.
    pub id: u64,
    /// Not unique.
    pub name: String,
    /// Lower case in answers.
    pub status: Status,
    /// When it was created.
    pub created: Moment,
    /// Slug.
    pub size: String,
    /// Slug.
    pub region: String,
    /// Its image.
    pub image: u64,
    /// Sorted.
    pub tags: Vec<String>,
    /// UUID of its network.
    pub vpc: String,
    /// Its address in that network.
    pub private: Ipv4Addr,
    /// Its public address, if it has one.
    pub public: Option<String>,
    /// It has an IPv6 address.
    pub ipv6: bool,
    /// From this moment answers have its networks.
    pub networks_at: Moment,
    /// Lines of the keys that may log in.
    pub keys: Vec<String>,
    /// As it was given.
    pub user_data: Option<String>,
    /// Such as `monitoring`.
    pub features: Vec<String>,
}

impl DigitalOcean {
    /// A droplet in the form of answers.
    pub fn droplet_json(&self, droplet: &Droplet, now: Moment) -> Value {
        let catalogue = Catalogue::get();
        let size = catalogue.size(&droplet.size);
        let volumes = self.volumes.values().filter(|volume| volume.droplet == Some(droplet.id));
        let visible = now >= droplet.networks_at;
        json!({
            "id": droplet.id,
            "name": droplet.name,
            "memory": size.map(|size| size.memory),
            "vcpus": size.map(|size| size.vcpus),
            "disk": size.map(|size| size.disk),
            "locked": self.is_locked(droplet.id),
            "status": droplet.status,
            "created_at": time::text(droplet.created),
            "features": droplet.features,
            "backup_ids": [],
            "next_backup_window": null,
            "snapshot_ids": [],
            "image": self.images.get(&droplet.image).map(super::catalogue::Image::json),
            "volume_ids": volumes.map(|volume| &volume.id).collect::<Vec<_>>(),
            "size": size.map(|size| catalogue.size_json(size, &self.rules)),
            "size_slug": droplet.size,
            "networks": if visible { self.networks_json(droplet) } else { json!({"v4": [], "v6": []}) },
            "region": catalogue.region_json(&droplet.region),
            "tags": droplet.tags,
            "vpc_uuid": droplet.vpc,
        })
    }

    fn networks_json(&self, droplet: &Droplet) -> Value {
        let range = self.vpcs.get(&droplet.vpc).map(|vpc| vpc.range);
        let private = range.map(|range| {
            json!({
                "ip_address": droplet.private, "netmask": range.netmask(), "gateway": address::gateway(&range),
                "type": "private",
            })
        });
        let public = droplet.public.as_ref().map(|ip| {
            let gateway = ip.rsplit_once('.').map(|(net, _)| format!("{net}.1")).unwrap_or_default();
            json!({"ip_address": ip, "netmask": "255.255.255.0", "gateway": gateway, "type": "public"})
        });
        let v4: Vec<Value> = public.into_iter().chain(private).collect();
        let v6 = droplet.ipv6.then(|| {
            let net = format!("2001:db8:d0:{:x}", droplet.id & 0xffff);
            json!({"ip_address": format!("{net}::1"), "netmask": 64, "gateway": format!("{net}::ffff"), "type": "public"})
        });
        json!({"v4": v4, "v6": v6.into_iter().collect::<Vec<_>>()})
    }

    /// The document of the machines' command.
    pub fn machine(&self, droplet: &Droplet, event: &str) -> Value {
        let volumes = self.volumes.values().filter(|volume| volume.droplet == Some(droplet.id));
        let volumes = volumes.map(|volume| {
            let device = format!("/dev/disk/by-id/scsi-0DO_Volume_{}", volume.name);
            json!({"id": volume.id, "name": volume.name, "size": volume.size, "device": device})
        });
        let network = self.vpcs.get(&droplet.vpc).map(|vpc| vpc.name.clone());
        let mac = crate::hetzner::mac(droplet.id, 0);
        json!({
            "event": event,
            "provider": "digitalocean",
            "id": droplet.id,
            "name": droplet.name,
            "image": self.images.get(&droplet.image).and_then(|image| image.slug.clone()),
            "type": droplet.size,
            "public_ipv4": droplet.public,
            "private": [{"ip": droplet.private, "mac": mac, "network": network}],
            "user_data": droplet.user_data,
            "ssh_keys": droplet.keys,
            "volumes": volumes.collect::<Vec<_>>(),
            "rescue": false,
        })
    }

    /// The droplet of the path.
    ///
    /// # Errors
    ///
    /// 404 `not_found`.
    pub fn droplet(&self, call: &Call) -> Result<&Droplet, Problem> {
        self.droplets.get(&id_of(call, 0, "droplet")?).ok_or_else(|| missing("droplet"))
    }

    /// Changes a droplet, if it exists.
    pub fn change(&mut self, id: u64, change: impl FnOnce(&mut Droplet)) {
        if let Some(droplet) = self.droplets.get_mut(&id) {
            change(droplet);
        }
    }

    /// Volumes and reserved IPs stay.
    pub fn remove_droplet(&mut self, id: u64) {
        self.droplets.remove(&id);
        self.volumes.values_mut().filter(|volume| volume.droplet == Some(id)).for_each(|volume| volume.droplet = None);
        self.reserved_ips.values_mut().filter(|ip| ip.droplet == Some(id)).for_each(|ip| ip.droplet = None);
        self.firewalls.values_mut().for_each(|firewall| firewall.droplets.retain(|other| *other != id));
    }

    fn new_public_address(&self) -> String {
        let prefix = self.rules.public_prefix.as_deref().unwrap_or("198.19");
        let used = |text: &String| {
            let droplet = self.droplets.values().any(|droplet| droplet.public.as_ref() == Some(text));
            droplet || self.reserved_ips.contains_key(text)
        };
        let address = |number: u32| format!("{prefix}.{}.{}", number / 250, number % 250 + 2);
        (1..50_000).map(address).find(|text| !used(text)).unwrap_or_default()
    }

    /// A public address for a reserved IP.
    pub fn new_reserved_address(&self) -> String {
        self.new_public_address()
    }

    fn begin_destruction(&mut self, call: &Call, id: u64) -> Result<(), Problem> {
        self.unlocked(id)?;
        let droplet = self.droplets.get(&id).ok_or_else(|| missing("droplet"))?;
        let (region, events) = (droplet.region.clone(), vec![self.machine(droplet, "delete")]);
        self.begin(call, "destroy", (Target::Droplet(id), &region), Effect::Destroy, events);
        Ok(())
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (tag, name) = (call.query_text("tag_name"), call.query_text("name"));
    if tag.is_some() && name.is_some() {
        return Err(refused("tag_name and name exclude each other"));
    }
    let chosen = state.droplets.values().filter(|droplet| {
        let tagged = tag.is_none_or(|tag| droplet.tags.iter().any(|other| other.eq_ignore_ascii_case(tag)));
        tagged && name.is_none_or(|name| droplet.name.eq_ignore_ascii_case(name))
    });
    list(call, "droplets", chosen.map(|droplet| state.droplet_json(droplet, call.now)).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    let droplet = state.droplet(call)?;
    Ok(Reply::json(200, json!({"droplet": state.droplet_json(droplet, call.now)})))
}

/// Creates droplets: one for `name`, or one for each of `names`.
pub fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let names = match call.text("name") {
        Some(name) => vec![name.to_owned()],
        None => call.texts("names"),
    };
    let plan = Plan::new(state, call, names.len())?;
    let mut droplets = Vec::new();
    let mut actions = Vec::new();
    for name in &names {
        let (id, action) = plan.make(state, call, name)?;
        droplets.push(id);
        let href = format!("{}/v2/actions/{}", call.origin, action["id"]);
        actions.push(json!({"id": action["id"], "rel": "create", "href": href}));
    }
    let made = droplets.iter().filter_map(|id| state.droplets.get(id));
    let made: Vec<Value> = made.map(|droplet| state.droplet_json(droplet, call.now)).collect();
    let links = json!({"actions": actions});
    Ok(Reply::json(
        202,
        match call.text("name") {
            Some(_) => json!({"droplet": made.first(), "links": links}),
            None => json!({"droplets": made, "links": links}),
        },
    ))
}

/// A creation that can only succeed.
struct Plan {
    size: String,
    region: String,
    image: u64,
    keys: Vec<String>,
    vpc: String,
    tags: Vec<String>,
}

impl Plan {
    fn new(state: &mut DigitalOcean, call: &Call, count: usize) -> Result<Plan, Problem> {
        let catalogue = Catalogue::get();
        let size = catalogue.size(call.required("size")).ok_or_else(|| refused("size: it does not exist"))?;
        let stock = |region: &String| !state.rules.sold_out.contains(&(size.slug.clone(), region.clone()));
        let region = match call.text("region") {
            Some(region) => region.to_owned(),
            None => size.regions.iter().find(|region| stock(region)).cloned().unwrap_or_default(),
        };
        catalogue.known_region(&region)?;
        if !size.regions.contains(&region) || !stock(&region) {
            return Err(refused("size: it is not available in this region"));
        }
        if call.text("user_data").is_some_and(|data| data.len() > USER_DATA) {
            return Err(refused("user_data: longer than 64 KiB"));
        }
        state.within_quota("droplets", state.droplets.len(), count)?;
        let image = state.image_for(&call.body["image"], &region)?;
        let keys = keys(state, call)?;
        volumes(state, call, &region, count)?;
        let tags = super::tag::valid(call)?;
        let vpc = match call.text("vpc_uuid") {
            Some(uuid) => state.vpc_in(uuid, &region)?,
            None => state.default_vpc(&region, call.now),
        };
        state.tags.extend(tags.iter().cloned());
        Ok(Plan { size: size.slug.clone(), region, image, keys, vpc, tags })
    }

    fn make(&self, state: &mut DigitalOcean, call: &Call, name: &str) -> Result<(u64, Value), Problem> {
        let private = state.free_in(&self.vpc).ok_or_else(|| refused("vpc_uuid: every address is in use"))?;
        let id = state.id();
        let features = [("monitoring", "monitoring"), ("ipv6", "ipv6"), ("with_droplet_agent", "droplet_agent")];
        let features = features.iter().filter(|(field, _)| call.flag(field, false));
        let droplet = Droplet {
            id,
            name: name.to_owned(),
            status: Status::New,
            created: call.now,
            size: self.size.clone(),
            region: self.region.clone(),
            image: self.image,
            tags: self.tags.clone(),
            vpc: self.vpc.clone(),
            private,
            public: call.flag("public_networking", true).then(|| state.new_public_address()),
            ipv6: call.flag("ipv6", false),
            networks_at: call.now + call.networks_ms,
            keys: self.keys.clone(),
            user_data: call.text("user_data").map(str::to_owned),
            features: features.map(|(_, feature)| (*feature).to_owned()).collect(),
        };
        for volume in call.texts("volumes") {
            state.volumes.entry(volume).and_modify(|volume| volume.droplet = Some(id));
        }
        let events = ["create", "poweron"].map(|event| state.machine(&droplet, event));
        state.droplets.insert(id, droplet);
        let target = (Target::Droplet(id), self.region.as_str());
        Ok((id, state.begin(call, "create", target, Effect::Become(Status::Active), events.to_vec())))
    }
}

fn keys(state: &DigitalOcean, call: &Call) -> Result<Vec<String>, Problem> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let wanted = call.list("ssh_keys").iter().map(text);
    let key = |wanted: String| {
        let known = state.key(&wanted).map(|key| key.public_key.clone());
        known.map_err(|_| refused(&format!("ssh_keys: {wanted} does not exist")))
    };
    wanted.map(key).collect()
}

fn volumes(state: &DigitalOcean, call: &Call, region: &str, count: usize) -> Result<(), Problem> {
    let wanted = call.texts("volumes");
    if count > 1 && !wanted.is_empty() {
        return Err(refused("volumes: a volume is attached to one droplet only"));
    }
    for id in wanted {
        let usable = state.volumes.get(&id).filter(|volume| volume.region == region && volume.droplet.is_none());
        usable.ok_or_else(|| refused(&format!("volumes: {id} cannot be attached")))?;
    }
    Ok(())
}

fn destroy(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.droplet(call)?.id;
    state.begin_destruction(call, id)?;
    Ok(Reply::empty())
}

/// Destroys a droplet with the named resources, all of which must be its own.
fn destroy_selected(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.droplet(call)?.id;
    if !call.list("snapshots").is_empty() || !call.list("volume_snapshots").is_empty() {
        return Err(refused("the test cloud has no snapshots of droplets"));
    }
    let (ips, volumes) = (call.texts("reserved_ips"), call.texts("volumes"));
    let own_ip = |ip: &String| state.reserved_ips.get(ip).is_some_and(|ip| ip.droplet == Some(id));
    let own_volume = |volume: &String| state.volumes.get(volume).is_some_and(|volume| volume.droplet == Some(id));
    if !ips.iter().all(own_ip) || !volumes.iter().all(own_volume) {
        return Err(refused("a resource does not belong to the droplet"));
    }
    state.begin_destruction(call, id)?;
    ips.iter().for_each(|ip| drop(state.reserved_ips.remove(ip)));
    volumes.iter().for_each(|volume| drop(state.volumes.remove(volume)));
    let mut reply = Reply::empty();
    reply.status = 202;
    Ok(reply)
}
