//! Actions of droplets.

use serde_json::json;

use super::droplet::Droplet;
use super::effect::{Effect, Status, Target};
use super::errors::refused;
use super::list::list;
use super::{Catalogue, DigitalOcean};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/droplets/{droplet_id}/actions", all),
    ("POST", "/v2/droplets/{droplet_id}/actions", begin),
    ("GET", "/v2/droplets/{droplet_id}/actions/{action_id}", one),
];

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.droplet(call)?.id;
    list(call, "actions", state.actions_of(|target| *target == Target::Droplet(id)))
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    let id = state.droplet(call)?.id;
    state.action_of(call, 1, |target| *target == Target::Droplet(id))
}

fn begin(state: &mut DigitalOcean, call: &Call) -> Handled {
    let droplet = state.droplet(call)?;
    let (id, region) = (droplet.id, droplet.region.clone());
    state.unlocked(id)?;
    let kind = call.required("type");
    only_its_fields(call, kind)?;
    let (effect, events) = effect(state, droplet, call, kind)?;
    match kind {
        "rename" => state.change(id, |droplet| droplet.name = call.required("name").to_owned()),
        "snapshot" => snapshot(state, id, call),
        _ => {}
    }
    let droplet = state.droplet(call)?;
    let events = events.iter().map(|event| state.machine(droplet, event)).collect();
    let action = state.begin(call, kind, (Target::Droplet(id), &region), effect, events);
    Ok(Reply::json(201, json!({"action": action})))
}

/// The change at the end of an action, and the events of the machine.
fn effect(
    state: &DigitalOcean,
    droplet: &Droplet,
    call: &Call,
    kind: &str,
) -> Result<(Effect, &'static [&'static str]), Problem> {
    let on = (Effect::Become(Status::Active), ["poweron"].as_slice());
    let off = (Effect::Become(Status::Off), ["poweroff"].as_slice());
    match (kind, droplet.status) {
        ("power_on", Status::Active) | ("power_off" | "shutdown", Status::Off) => Ok((Effect::None, &[])),
        ("power_on", _) => Ok(on),
        ("power_off" | "shutdown", _) => Ok(off),
        ("reboot", Status::Off) => Err(refused("the droplet is off")),
        ("reboot" | "power_cycle", _) => Ok((Effect::Become(Status::Active), &["poweroff", "poweron"])),
        ("rebuild", _) => {
            let image = state.image_for(&call.body["image"], &droplet.region)?;
            Ok((Effect::Rebuild(image), &["rebuild", "poweron"]))
        }
        ("resize", Status::Off) => Ok((Effect::Resize(new_size(droplet, call)?), &[])),
        ("resize", _) => Err(refused("the droplet must be off")),
        ("enable_ipv6", _) => Ok((Effect::Ipv6, &[])),
        ("rename", _) if call.text("name").is_none_or(str::is_empty) => Err(refused("name: missing")),
        _ => Ok((Effect::None, &[])),
    }
}

fn only_its_fields(call: &Call, kind: &str) -> Result<(), Problem> {
    let own: &[&str] = match kind {
        "rebuild" => &["image"],
        "resize" => &["size", "disk"],
        "rename" | "snapshot" => &["name"],
        _ => &[],
    };
    let fields = call.body.as_object().into_iter().flat_map(|object| object.keys());
    match fields.into_iter().find(|field| *field != "type" && !own.contains(&field.as_str())) {
        Some(field) => Err(refused(&format!("{field}: does not go with {kind}"))),
        None => Ok(()),
    }
}

fn new_size(droplet: &Droplet, call: &Call) -> Result<String, Problem> {
    let catalogue = Catalogue::get();
    let (old, new) = (catalogue.size(&droplet.size), catalogue.size(call.required("size")));
    let new = new.filter(|size| size.regions.contains(&droplet.region));
    let new = new.ok_or_else(|| refused("size: it is not available in this region"))?;
    match old.is_some_and(|old| old.disk > new.disk) {
        true => Err(refused("size: the disk would be smaller")),
        false => Ok(new.slug.clone()),
    }
}

fn snapshot(state: &mut DigitalOcean, id: u64, call: &Call) {
    let image = state.id();
    let Some(droplet) = state.droplets.get(&id) else { return };
    let distribution = state.images.get(&droplet.image).map(|image| image.distribution.clone());
    let snapshot = super::catalogue::Image {
        id: image,
        slug: None,
        name: call.text("name").unwrap_or(&droplet.name).to_owned(),
        distribution: distribution.unwrap_or_else(|| "Unknown".to_owned()),
        regions: vec![droplet.region.clone()],
    };
    state.images.insert(image, snapshot);
}
