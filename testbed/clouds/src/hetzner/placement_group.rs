//! Placement groups: their servers run on different hosts.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Hetzner;
use super::errors::{find, find_mut, id_of, labels_of, refused, unique_name};
use super::list::list;
use crate::labels::Labels;
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/placement_groups", all),
    ("POST", "/placement_groups", create),
    ("GET", "/placement_groups/{id}", one),
    ("PUT", "/placement_groups/{id}", update),
    ("DELETE", "/placement_groups/{id}", delete),
];

/// Servers of one group.
const SERVERS: usize = 10;
/// Groups of one project.
const GROUPS: usize = 50;

/// A placement group of the type `spread`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacementGroup {
    /// Unique in the project.
    pub id: u64,
    /// Unique in the project.
    pub name: String,
    /// Key and value.
    pub labels: Labels,
    /// When it was created.
    pub created: Moment,
}

impl Hetzner {
    /// A placement group in the form of answers.
    pub fn placement_group_json(&self, group: &PlacementGroup) -> Value {
        json!({
            "id": group.id,
            "name": group.name,
            "labels": group.labels,
            "type": "spread",
            "created": time::text(group.created),
            "servers": self.members(group.id),
        })
    }

    fn members(&self, group: u64) -> Vec<u64> {
        let members = self.servers.values().filter(|server| server.placement_group == Some(group));
        members.map(|server| server.id).collect()
    }

    /// Refuses a server more than a group can have.
    ///
    /// # Errors
    ///
    /// 404; 422 `placement_error`.
    pub fn placeable(&self, group: u64) -> Result<(), Problem> {
        find(&self.placement_groups, group, "placement group")?;
        match self.members(group).len() >= SERVERS {
            true => Err(refused("placement_error", "the placement group has 10 servers")),
            false => Ok(()),
        }
    }
}

fn all(state: &mut Hetzner, call: &Call) -> Handled {
    let groups = state.placement_groups.values().map(|group| state.placement_group_json(group));
    list(call, "placement_groups", groups.collect())
}

fn one(state: &mut Hetzner, call: &Call) -> Handled {
    let group = find(&state.placement_groups, id_of(call, "placement group")?, "placement group")?;
    Ok(Reply::json(200, json!({"placement_group": state.placement_group_json(group)})))
}

fn create(state: &mut Hetzner, call: &Call) -> Handled {
    let others = state.placement_groups.iter().map(|(id, group)| (*id, &group.name));
    let name = unique_name(call.text("name"), others, 0)?.unwrap_or_default();
    let labels = labels_of(call)?.unwrap_or_default();
    let count = state.placement_groups.len();
    state.within_quota("placement_groups", count, 1)?;
    if count >= GROUPS {
        return Err(Problem::new(403, "resource_limit_exceeded", "a project can have 50 placement groups"));
    }
    let group = PlacementGroup { id: state.id(), name, labels, created: call.now };
    let json = state.placement_group_json(&group);
    state.placement_groups.insert(group.id, group);
    Ok(Reply::json(201, json!({"placement_group": json, "action": null})))
}

fn update(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "placement group")?;
    find(&state.placement_groups, id, "placement group")?;
    let others = state.placement_groups.iter().map(|(id, group)| (*id, &group.name));
    let name = unique_name(call.text("name"), others, id)?;
    let labels = labels_of(call)?;
    let group = find_mut(&mut state.placement_groups, id, "placement group")?;
    group.name = name.unwrap_or_else(|| group.name.clone());
    group.labels = labels.unwrap_or_else(|| group.labels.clone());
    one(state, call)
}

fn delete(state: &mut Hetzner, call: &Call) -> Handled {
    let id = id_of(call, "placement group")?;
    find(&state.placement_groups, id, "placement group")?;
    if !state.members(id).is_empty() {
        return Err(refused("resource_in_use", "the placement group has servers"));
    }
    state.placement_groups.remove(&id);
    Ok(Reply::empty())
}
