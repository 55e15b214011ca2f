//! Waiting for what a provider does in the background: one task asks for all actions that tasks wait for.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as Turn, Notify};

use crate::{api::Api, error::CloudError};

/// Longest time for an action, in seconds: a large image is copied in minutes.
const LONGEST: f64 = 900.0;

/// An action whose end is waited for.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its identifier.
    pub id: u64,
    /// What it does, for people.
    pub command: String,
    /// Its end, if it has ended.
    pub end: Option<End>,
}

/// End of an action.
#[derive(Clone, Debug)]
pub enum End {
    /// It did what it should.
    Success,
    /// It did not.
    Failed {
        /// What it should do.
        command: String,
        /// The provider's code.
        code: String,
        /// The provider's reason.
        message: String,
    },
    /// The provider no longer knows it: whoever waits looks at the resource itself.
    Gone,
}

/// How a provider is asked for actions.
pub trait Ask: Send + Sync {
    /// Seconds between two rounds.
    const ROUND: f64;

    /// Returns the ends of those that have ended.
    fn ends(&self, api: &Api, ids: &[u64]) -> impl Future<Output = Result<BTreeMap<u64, End>, CloudError>> + Send;
}

/// Actions that tasks wait for, and the ends that were seen.
pub struct Actions<A> {
    ask: A,
    waiting: Mutex<BTreeSet<u64>>,
    ends: Mutex<BTreeMap<u64, End>>,
    /// Held by the task that asks for all of them.
    turn: Turn<()>,
    news: Arc<Notify>,
}

impl<A: Ask> Actions<A> {
    /// Returns a record without actions.
    pub fn new(ask: A) -> Self {
        let (waiting, ends, turn, news) = Default::default();
        Self { ask, waiting, ends, turn, news }
    }

    /// Waits until all of the actions have ended.
    ///
    /// # Errors
    /// One has failed, takes too long, or cannot be asked for.
    pub async fn wait(&self, api: &Api, actions: &[Begun]) -> Result<(), CloudError> {
        for action in actions {
            self.wait_for(api, action).await?;
        }
        Ok(())
    }

    async fn wait_for(&self, api: &Api, action: &Begun) -> Result<(), CloudError> {
        if let Some(end) = &action.end {
            return end.clone().result(api, action);
        }
        lock(&self.waiting).insert(action.id);
        let mut waited = 0.0;
        let result = loop {
            if let Some(end) = lock(&self.ends).remove(&action.id) {
                break end.result(api, action);
            }
            if waited >= LONGEST {
                let (provider, what) = (api.provider(), action.command.clone());
                break Err(CloudError::Slow { provider, what, seconds: LONGEST as u64 });
            }
            waited += A::ROUND;
            // One task asks for all; the others wait for its news, or for their turn.
            if let Ok(turn) = self.turn.try_lock() {
                let round = self.round(api).await;
                drop(turn);
                self.news.notify_waiters();
                if let Err(error) = round {
                    break Err(error);
                }
            } else {
                let news = self.news.notified();
                tokio::select! {
                    () = news => {}
                    paused = api.pause(A::ROUND) => if let Err(error) = paused { break Err(error); },
                }
            }
        };
        lock(&self.waiting).remove(&action.id);
        result
    }

    async fn round(&self, api: &Api) -> Result<(), CloudError> {
        api.pause(A::ROUND).await?;
        let waiting: Vec<u64> = lock(&self.waiting).iter().copied().collect();
        let found = self.ask.ends(api, &waiting).await?;
        lock(&self.ends).extend(found);
        Ok(())
    }
}

impl End {
    fn result(self, api: &Api, action: &Begun) -> Result<(), CloudError> {
        let provider = api.provider();
        match self {
            Self::Success => Ok(()),
            Self::Failed { command, code, message } => Err(CloudError::Action { provider, command, code, message }),
            Self::Gone => Err(CloudError::Action {
                provider,
                command: action.command.clone(),
                code: "not_found".to_owned(),
                message: "the action is not known any more".to_owned(),
            }),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
