//! Volumes.

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
    ("GET", "/volumes", all),
    ("POST", "/volumes", create),
    ("GET", "/volumes/{id}", one),
    ("PUT", "/volumes/{id}", update),
    ("DELETE", "/volumes/{id}", delete),
    ("POST", "/volumes/{id}/actions/attach", attach),
    ("POST", "/volumes/{id}/actions/detach", detach),
    ("POST", "/volumes/{id}/actions/resize", resize),
];

/// Volumes of one server.
const OF_SERVER: usize = 16;

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// In GB.
    pub size: u64,
    /// Name of the location.
    pub location: String,
    /// The server that it is attached to.
    pub server: Option<u64>,
    /// `ext4` or `xfs`, made at its creation.
    pub format: Option<String>,
    /// Key and value.
    pub labels: Labels,
    /// When it was created.
    pub created: Moment,
}

impl Volume {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "created": time::text(self.created),
            "name": self.name,
            "server": self.server,
            "location": Catalogue::get().location_json(&self.location),
            "size": self.size,
            "linux_device": self.device(),
            "protection": {"delete": false},
            "labels": self.labels,
            "status": "available",
            "format": self.format,
        })
    }

    /// The path of its device on a server.
    pub fn device(&self) -> String {
        format!("/dev/disk/by-id/scsi-0HC_Volume_{}", self.id)
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    list(call, "volumes", state.volumes.values().map(Volume::json).collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let volume = find(&state.volumes, id_of(call, "volume")?, "volume")?;
    Ok(Reply::json(200, json!({"volume": volume.json()})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.volumes.iter().map(|(id, volume)| (*id, &volume.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let labels = labels_of(call)?.unwrap_or_default();
    let server = call.number("server");
    let location = match (call.text("location"), server) {
        (None, Some(id)) => find(&state.servers, id, "server")?.location.clone(),
        (Some(name), None) => Catalogue::get().known_location(name)?,
        _ => return Err(invalid("location", "either a location or a server")),
    };
    if call.text("format").is_some_and(|format| !["ext4", "xfs"].contains(&format)) {
        return Err(invalid("format", "not ext4 or xfs"));
    }
    if let Some(id) = server {
        can_attach(state, id)?;
    } else if call.body.get("automount").is_some() {
        return Err(invalid("automount", "needs a server"));
    }
    state.within_quota("volumes", state.volumes.len(), 1)?;
    let id = state.id();
    let size = call.number("size").unwrap_or_default();
    let format = call.text("format").map(str::to_owned);
    let volume = Volume { id, name, size, location, server: None, format, labels, created: call.now };
    let json = volume.json();
    state.volumes.insert(id, volume);
    let action = state.begin(call, "create_volume", &[("volume", id)], Effect::None);
    let next = server.map(|server| {
        state.begin(call, "attach_volume", &[("server", server), ("volume", id)], Effect::Volume(id, Some(server)))
    });
    let next: Vec<Value> = next.into_iter().collect();
    Ok(Reply::json(201, json!({"volume": json, "action": action, "next_actions": next})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "volume")?;
    find(&state.volumes, id, "volume")?;
    let others = state.volumes.iter().map(|(id, volume)| (*id, &volume.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let volume = find_mut(&mut state.volumes, id, "volume")?;
    volume.name = name.unwrap_or_else(|| volume.name.clone());
    volume.labels = labels.unwrap_or_else(|| volume.labels.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_volume(state, call)?;
    if find(&state.volumes, id, "volume")?.server.is_some() {
        return Err(refused("resource_in_use", "the volume is attached to a server"));
    }
    state.volumes.remove(&id);
    Ok(Reply::empty())
}

fn attach(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_volume(state, call)?;
    let server = call.number("server").unwrap_or_default();
    let volume = find(&state.volumes, id, "volume")?;
    if volume.server.is_some() {
        return Err(refused("volume_already_attached", "the volume is attached to a server"));
    }
    if find(&state.servers, server, "server")?.location != volume.location {
        return Err(invalid("server", "the server is in another location"));
    }
    can_attach(state, server)?;
    let resources = [("server", server), ("volume", id)];
    state.act(call, "attach_volume", &resources, Effect::Volume(id, Some(server)))
}

fn detach(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_volume(state, call)?;
    let server = find(&state.volumes, id, "volume")?.server;
    let server = server.ok_or_else(|| refused("volume_not_attached", "the volume is not attached"))?;
    state.unlocked(server)?;
    let resources = [("server", server), ("volume", id)];
    state.act(call, "detach_volume", &resources, Effect::Volume(id, None))
}

fn resize(state: &mut Hetzner, call: &Call) -> Handled {
    let id = free_volume(state, call)?;
    let volume = find_mut(&mut state.volumes, id, "volume")?;
    let size = call.number("size").filter(|size| *size > volume.size && *size <= 10_240);
    volume.size = size.ok_or_else(|| invalid("size", "not larger than before and at most 10240"))?;
    state.act(call, "resize_volume", &[("volume", id)], Effect::None)
}

fn free_volume(state: &Hetzner, call: &Call) -> Result<u64, Problem> {
    let id = id_of(call, "volume")?;
    find(&state.volumes, id, "volume")?;
    if state.is_changing("volume", id) { Err(locked("volume")) } else { Ok(id) }
}

fn can_attach(state: &Hetzner, server: u64) -> Result<(), Problem> {
    find(&state.servers, server, "server")?;
    state.unlocked(server)?;
    match state.volumes.values().filter(|volume| volume.server == Some(server)).count() >= OF_SERVER {
        true => Err(refused("resource_limit_exceeded", "a server can have 16 volumes")),
        false => Ok(()),
    }
}
