//! Waiting for actions of Hetzner Cloud: one request a round for all that are waited for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as Turn, Notify};

use super::{SOURCE, wire::Action};
use crate::{
    api::{Api, Request},
    error::{CloudError, cleaned},
};

/// Actions in one request.
const CHUNK: usize = 25;
/// Seconds between two rounds.
const ROUND: f64 = 1.0;
/// Longest time for an action, in seconds: a large image is copied in minutes.
const LONGEST: u32 = 900;

/// End of an action.
#[derive(Clone, Debug)]
enum End {
    Success,
    Failed { command: String, code: String, message: String },
    Gone,
}

/// Actions that tasks wait for, and the ends that were seen.
#[derive(Default)]
pub struct Actions {
    waiting: Mutex<BTreeSet<u64>>,
    ends: Mutex<BTreeMap<u64, End>>,
    /// Held by the task that asks for all of them.
    turn: Turn<()>,
    news: Arc<Notify>,
}

impl Actions {
    /// Waits until all of the actions have ended.
    ///
    /// # Errors
    /// One has failed, takes too long, or cannot be asked for.
    pub async fn wait(&self, api: &Api, actions: &[Action]) -> Result<(), CloudError> {
        for action in actions {
            self.wait_for(api, action).await?;
        }
        Ok(())
    }

    async fn wait_for(&self, api: &Api, action: &Action) -> Result<(), CloudError> {
        if let Some(end) = end(action) {
            return end.result(action);
        }
        lock(&self.waiting).insert(action.id);
        let mut rounds = 0;
        let result = loop {
            if let Some(end) = lock(&self.ends).remove(&action.id) {
                break end.result(action);
            }
            if rounds >= LONGEST {
                let what = cleaned(&action.command);
                break Err(CloudError::Slow { provider: SOURCE.provider, what, seconds: LONGEST.into() });
            }
            // One task asks for all; the others wait for its news, or for their turn.
            if let Ok(turn) = self.turn.try_lock() {
                rounds += 1;
                let round = self.round(api).await;
                drop(turn);
                self.news.notify_waiters();
                if let Err(error) = round {
                    break Err(error);
                }
            } else {
                rounds += 1;
                let news = self.news.notified();
                tokio::select! {
                    () = news => {}
                    paused = api.pause(ROUND) => if let Err(error) = paused { break Err(error); },
                }
            }
        };
        lock(&self.waiting).remove(&action.id);
        result
    }

    async fn round(&self, api: &Api) -> Result<(), CloudError> {
        api.pause(ROUND).await?;
        let waiting: Vec<u64> = lock(&self.waiting).iter().copied().collect();
        for chunk in waiting.chunks(CHUNK) {
            let mut request = Request::get("actions");
            for id in chunk {
                request = request.with("id", id);
            }
            let found: Vec<Action> = super::list_of(&api.send(&request).await?, "actions")?;
            let mut ends = lock(&self.ends);
            for id in chunk {
                match found.iter().find(|action| action.id == *id) {
                    Some(action) => ends.extend(end(action).map(|end| (*id, end))),
                    // The provider no longer knows it: whoever waits looks at the resource itself.
                    None => drop(ends.insert(*id, End::Gone)),
                }
            }
        }
        Ok(())
    }
}

fn end(action: &Action) -> Option<End> {
    match action.status.as_str() {
        "success" => Some(End::Success),
        "error" => {
            let error = action.error.clone().unwrap_or_default();
            Some(End::Failed {
                command: cleaned(&action.command.replace('_', " ")),
                code: cleaned(&error.code),
                message: cleaned(&error.message),
            })
        }
        _ => None,
    }
}

impl End {
    fn result(self, action: &Action) -> Result<(), CloudError> {
        let provider = SOURCE.provider;
        match self {
            Self::Success => Ok(()),
            Self::Failed { command, code, message } => Err(CloudError::Action { provider, command, code, message }),
            Self::Gone => Err(CloudError::Action {
                provider,
                command: cleaned(&action.command.replace('_', " ")),
                code: "not_found".to_owned(),
                message: "the action is not known any more".to_owned(),
            }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
