//! Actions of DigitalOcean. There is no request for several by number, but the newest of the account fit in one page:
//! 250 requests a minute are too few to ask for each of many.

use std::collections::BTreeMap;

use super::wire::Action;
use crate::{
    actions::{Ask, Begun, End},
    api::{Api, Request},
    error::{CloudError, cleaned},
};

/// Requests for DigitalOcean's actions.
pub struct Newest;

impl Ask for Newest {
    const ROUND: f64 = 2.0;

    async fn ends(&self, api: &Api, ids: &[u64]) -> Result<BTreeMap<u64, End>, CloudError> {
        let mut known: BTreeMap<u64, Action> = BTreeMap::new();
        if ids.len() > 1 {
            let page = api.send(&Request::get("actions").with("per_page", super::PAGE)).await?;
            let actions: Vec<Action> = super::list_of(&page, "actions")?;
            known.extend(actions.into_iter().map(|action| (action.id, action)));
        }
        let mut ends = BTreeMap::new();
        for id in ids {
            let action = match known.remove(id) {
                Some(action) => Some(action),
                None => one(api, *id).await?,
            };
            match action {
                Some(action) => ends.extend(end(&action).map(|end| (*id, end))),
                None => drop(ends.insert(*id, End::Gone)),
            }
        }
        Ok(ends)
    }
}

async fn one(api: &Api, id: u64) -> Result<Option<Action>, CloudError> {
    match api.send(&Request::get(format!("actions/{id}"))).await {
        Ok(body) => super::read("GET actions", &body["action"]).map(Some),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn begun(action: &Action) -> Begun {
    Begun { id: action.id, command: command(action), end: end(action) }
}

fn command(action: &Action) -> String {
    format!("{} a droplet", cleaned(&action.kind.replace('_', " ")))
}

fn end(action: &Action) -> Option<End> {
    match action.status.as_str() {
        "completed" => Some(End::Success),
        "errored" => Some(End::Failed {
            command: command(action),
            code: "errored".to_owned(),
            message: "the API tells no reason; its console may".to_owned(),
        }),
        _ => None,
    }
}
