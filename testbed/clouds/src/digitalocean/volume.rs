//! Volumes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::effect::{Effect, Target};
use super::errors::{missing, refused};
use super::list::list;
use super::{Catalogue, DigitalOcean};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/volumes", all),
    ("POST", "/v2/volumes", create),
    ("GET", "/v2/volumes/{volume_id}", one),
    ("DELETE", "/v2/volumes/{volume_id}", delete),
    ("GET", "/v2/volumes/{volume_id}/actions", actions),
    ("POST", "/v2/volumes/{volume_id}/actions", act),
    ("GET", "/v2/volumes/{volume_id}/actions/{action_id}", action),
];

/// Volumes of one droplet.
const OF_DROPLET: usize = 7;

/// A volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// UUID.
    pub id: String,
    /// Unique in the region.
    pub name: String,
    description: String,
    /// Slug.
    pub region: String,
    /// In GB.
    pub size: u64,
    /// The droplet that it is attached to.
    pub droplet: Option<u64>,
    filesystem: (String, String),
    /// Sorted.
    pub tags: Vec<String>,
    created: Moment,
}

impl Volume {
    /// The form of answers.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "region": Catalogue::get().region_json(&self.region),
            "droplet_ids": self.droplet.into_iter().collect::<Vec<_>>(),
            "size_gigabytes": self.size,
            "created_at": time::text(self.created),
            "filesystem_type": self.filesystem.0,
            "filesystem_label": self.filesystem.1,
            "tags": self.tags,
        })
    }
}

impl DigitalOcean {
    fn volume(&self, call: &Call) -> Result<&Volume, Problem> {
        self.volumes.get(call.parameter(0)).ok_or_else(|| missing("volume"))
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (name, region) = (call.query_text("name"), call.query_text("region"));
    let chosen = state.volumes.values().filter(|volume| {
        name.is_none_or(|name| volume.name == name) && region.is_none_or(|region| volume.region == region)
    });
    list(call, "volumes", chosen.map(Volume::json).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    Ok(Reply::json(200, json!({"volume": state.volume(call)?.json()})))
}

/// Creates a volume.
pub fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let (name, region) = (call.required("name").to_owned(), call.required("region").to_owned());
    Catalogue::get().known_region(&region)?;
    if state.volumes.values().any(|volume| volume.name == name && volume.region == region) {
        return Err(Problem::new(409, "conflict", "another volume of the region has this name"));
    }
    let (kind, label) = (call.text("filesystem_type").unwrap_or_default(), call.text("filesystem_label"));
    let longest = match kind {
        "" => 0,
        "ext4" => 16,
        "xfs" => 12,
        _ => return Err(refused("filesystem_type: not ext4 or xfs")),
    };
    let label = label.unwrap_or_default();
    if label.len() > longest {
        return Err(refused("filesystem_label: too long for this type"));
    }
    if call.body.get("snapshot_id").is_some() {
        return Err(refused("snapshot_id: it does not exist"));
    }
    let tags = super::tag::valid(call)?;
    state.within_quota("volumes", state.volumes.len(), 1)?;
    state.tags.extend(tags.iter().cloned());
    let volume = Volume {
        id: state.uuid(),
        name,
        description: call.text("description").unwrap_or_default().to_owned(),
        region,
        size: call.number("size_gigabytes").unwrap_or_default(),
        droplet: None,
        filesystem: (kind.to_owned(), label.to_owned()),
        tags,
        created: call.now,
    };
    let json = volume.json();
    state.volumes.insert(volume.id.clone(), volume);
    Ok(Reply::json(201, json!({"volume": json})))
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    let volume = state.volume(call)?;
    if volume.droplet.is_some() || state.is_changing(&volume.id) {
        return Err(Problem::new(409, "conflict", "the volume is attached to a droplet"));
    }
    let id = volume.id.clone();
    state.volumes.remove(&id);
    Ok(Reply::empty())
}

fn act(state: &mut DigitalOcean, call: &Call) -> Handled {
    let volume = state.volume(call)?;
    let (id, region) = (volume.id.clone(), volume.region.clone());
    if state.is_changing(&id) {
        return Err(refused("the volume has a pending event"));
    }
    if call.text("region").is_some_and(|other| other != region) {
        return Err(refused("region: the volume is in another one"));
    }
    let kind = call.required("type");
    let (droplet, effect) = match kind {
        "attach" => {
            let droplet = attachable(state, call, volume)?;
            (Some(droplet), Effect::Volume(Some(droplet)))
        }
        "detach" => {
            let droplet = call.number("droplet_id").filter(|id| volume.droplet == Some(*id));
            let droplet = droplet.ok_or_else(|| refused("droplet_id: the volume is not attached to it"))?;
            state.unlocked(droplet)?;
            (Some(droplet), Effect::Volume(None))
        }
        _ => {
            let size = call.number("size_gigabytes").filter(|size| *size > volume.size);
            let size = size.ok_or_else(|| refused("size_gigabytes: not larger than before"))?;
            state.volumes.entry(id.clone()).and_modify(|volume| volume.size = size);
            (None, Effect::None)
        }
    };
    let target = (Target::Volume(id, droplet), region.as_str());
    let action = state.begin(call, &format!("{kind}_volume"), target, effect, Vec::new());
    Ok(Reply::json(202, json!({"action": action})))
}

fn attachable(state: &DigitalOcean, call: &Call, volume: &Volume) -> Result<u64, Problem> {
    let id = call.number("droplet_id").ok_or_else(|| refused("droplet_id: missing"))?;
    let droplet = state.droplets.get(&id).filter(|droplet| droplet.region == volume.region);
    droplet.ok_or_else(|| refused("droplet_id: it does not exist in this region"))?;
    state.unlocked(id)?;
    if volume.droplet.is_some() {
        return Err(refused("the volume is attached to a droplet"));
    }
    match state.volumes.values().filter(|volume| volume.droplet == Some(id)).count() >= OF_DROPLET {
        true => Err(refused("a droplet can have 7 volumes")),
        false => Ok(id),
    }
}

fn is_of<'a>(call: &'a Call) -> impl Fn(&Target) -> bool + 'a {
    |target| matches!(target, Target::Volume(id, _) if id == call.parameter(0))
}

fn actions(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.volume(call)?;
    list(call, "actions", state.actions_of(is_of(call)))
}

fn action(state: &mut DigitalOcean, call: &Call) -> Handled {
    state.volume(call)?;
    state.action_of(call, 1, is_of(call))
}
