//! Actions of Hetzner Cloud: one request asks for many.

use std::collections::BTreeMap;

use super::wire::Action;
use crate::{
    actions::{Ask, Begun, End},
    api::{Api, Request},
    error::{CloudError, cleaned},
};

/// Actions in one request.
const CHUNK: usize = 25;

/// Requests for Hetzner's actions.
pub struct ById;

impl Ask for ById {
    const ROUND: f64 = 1.0;

    async fn ends(&self, api: &Api, ids: &[u64]) -> Result<BTreeMap<u64, End>, CloudError> {
        let mut ends = BTreeMap::new();
        for chunk in ids.chunks(CHUNK) {
            let mut request = Request::get("actions");
            for id in chunk {
                request = request.with("id", id);
            }
            let found: Vec<Action> = super::list_of(&api.send(&request).await?, "actions")?;
            for id in chunk {
                match found.iter().find(|action| action.id == *id) {
                    Some(action) => ends.extend(end(action).map(|end| (*id, end))),
                    None => drop(ends.insert(*id, End::Gone)),
                }
            }
        }
        Ok(ends)
    }
}

pub fn begun(action: &Action) -> Begun {
    Begun { id: action.id, command: command(action), end: end(action) }
}

fn command(action: &Action) -> String {
    cleaned(&action.command.replace('_', " "))
}

fn end(action: &Action) -> Option<End> {
    match action.status.as_str() {
        "success" => Some(End::Success),
        "error" => {
            let error = action.error.clone().unwrap_or_default();
            let (code, message) = (cleaned(&error.code), cleaned(&error.message));
            Some(End::Failed { command: command(action), code, message })
        }
        _ => None,
    }
}
