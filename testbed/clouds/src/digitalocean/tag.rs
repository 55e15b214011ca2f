//! Tags.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::DigitalOcean;
use super::errors::{missing, refused};
use super::list::list;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;

/// Endpoints.
pub const ROUTES: &[Route<DigitalOcean>] = &[
    ("GET", "/v2/tags", all),
    ("POST", "/v2/tags", create),
    ("GET", "/v2/tags/{tag_id}", one),
    ("DELETE", "/v2/tags/{tag_id}", delete),
    ("POST", "/v2/tags/{tag_id}/resources", tag_resources),
    ("DELETE", "/v2/tags/{tag_id}/resources", untag_resources),
];

impl DigitalOcean {
    /// A tag in the form of answers.
    pub fn tag_json(&self, tag: &str) -> Value {
        let has = |tags: &[String]| tags.iter().any(|other| other == tag);
        let droplets = self.droplets.values().filter(|droplet| has(&droplet.tags)).count();
        let volumes = self.volumes.values().filter(|volume| has(&volume.tags)).count();
        json!({
            "name": tag,
            "resources": {
                "count": droplets + volumes, "droplets": {"count": droplets}, "volumes": {"count": volumes},
            },
        })
    }

    /// The tags of a droplet or volume.
    fn tags_of(&mut self, resource: &Value) -> Result<&mut Vec<String>, Problem> {
        let id = resource["resource_id"].as_str().unwrap_or_default();
        let tags = match resource["resource_type"].as_str() {
            Some("droplet") => {
                let id = id.parse().ok();
                id.and_then(|id: u64| self.droplets.get_mut(&id)).map(|droplet| &mut droplet.tags)
            }
            _ => self.volumes.get_mut(id).map(|volume| &mut volume.tags),
        };
        tags.ok_or_else(|| missing("resource"))
    }

    fn known_tag(&self, call: &Call) -> Result<String, Problem> {
        self.tags.get(call.parameter(0)).cloned().ok_or_else(|| missing("tag"))
    }
}

/// The tags of a body, sorted.
///
/// # Errors
///
/// 422 `unprocessable_entity`.
pub fn valid(call: &Call) -> Result<Vec<String>, Problem> {
    let tags: BTreeSet<String> = call.texts("tags").into_iter().collect();
    let is_valid = |tag: &&String| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte);
        !tag.is_empty() && tag.len() <= 255 && tag.bytes().all(inner)
    };
    match tags.iter().find(|tag| !is_valid(tag)) {
        Some(tag) => Err(refused(&format!("tags: {tag:?} is invalid"))),
        None => Ok(tags.into_iter().collect()),
    }
}

fn all(state: &mut DigitalOcean, call: &Call) -> Handled {
    list(call, "tags", state.tags.iter().map(|tag| state.tag_json(tag)).collect())
}

fn one(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tag = state.known_tag(call)?;
    Ok(Reply::json(200, json!({"tag": state.tag_json(&tag)})))
}

/// Creating a tag that exists changes nothing.
fn create(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tag = call.required("name");
    state.tags.insert(tag.to_owned());
    Ok(Reply::json(201, json!({"tag": state.tag_json(tag)})))
}

fn delete(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tag = state.known_tag(call)?;
    state.tags.remove(&tag);
    state.droplets.values_mut().for_each(|droplet| droplet.tags.retain(|other| *other != tag));
    state.volumes.values_mut().for_each(|volume| volume.tags.retain(|other| *other != tag));
    state.firewalls.values_mut().for_each(|firewall| firewall.tags.retain(|other| *other != tag));
    Ok(Reply::empty())
}

fn tag_resources(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tag = state.known_tag(call)?;
    for resource in call.list("resources") {
        let tags = state.tags_of(resource)?;
        if !tags.contains(&tag) {
            tags.push(tag.clone());
            tags.sort();
        }
    }
    Ok(Reply::empty())
}

fn untag_resources(state: &mut DigitalOcean, call: &Call) -> Handled {
    let tag = state.known_tag(call)?;
    for resource in call.list("resources") {
        state.tags_of(resource)?.retain(|other| *other != tag);
    }
    Ok(Reply::empty())
}
