//! Execution of a plan: first what servers share, then the servers side by side, each step from the state that exists.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use machinist_model::NodeName;

use crate::{
    cloud::{Boot, Cloud},
    desired::{Desired, Server},
    error::CloudError,
    observed::{FoundServer, Id, Observed},
    plan::{Plan, ServerChange, Step},
};

/// Servers that are created at once.
const PARALLEL: usize = 10;
/// Rounds of creating what servers share: the second one sees what the first one made.
const ROUNDS: u32 = 3;
/// Attempts to create a server whose response is lost.
const ATTEMPTS: u32 = 3;

/// What happens, for a progress view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Something that servers share was created or updated.
    Shared {
        /// `create` or `update`.
        verb: &'static str,
        /// Its kind and name.
        what: String,
    },
    /// A server's step begins.
    Step {
        /// The node.
        node: NodeName,
        /// The step.
        step: Step,
    },
    /// A server is complete.
    Ready {
        /// The node.
        node: NodeName,
    },
}

/// End of one server's steps.
#[derive(Debug)]
pub struct End {
    /// The node.
    pub node: NodeName,
    /// The server, or the reason why it is not complete.
    pub result: Result<FoundServer, CloudError>,
}

/// Creates what servers share. Returns what exists afterwards.
///
/// # Errors
/// The provider refused something.
pub async fn shared<C: Cloud>(
    cloud: &C,
    desired: &Desired,
    first: &Plan,
    report: &(dyn Fn(Happening) + Sync),
) -> Result<Observed, CloudError> {
    let mut observed = cloud.observe(&desired.cluster).await?;
    let mut changes = first.shared.clone();
    for _ in 0..ROUNDS {
        if changes.is_empty() {
            break;
        }
        for change in &changes {
            cloud.apply(change, desired, &observed).await?;
            report(Happening::Shared { verb: change.verb, what: format!("{} {}", change.kind, change.name) });
        }
        observed = cloud.observe(&desired.cluster).await?;
        changes = crate::plan::missing(desired, &observed);
    }
    // Another operator may have changed something meanwhile: a server would be open, or in another network.
    match changes.first() {
        Some(change) => {
            let what = format!("{} {}", change.kind, change.name);
            Err(CloudError::Missing { provider: cloud.name(), what })
        }
        None => Ok(observed),
    }
}

/// Brings the servers of the plan to their end, side by side. After an error that would meet every server, no other is
/// begun. `boot` gives a server's first configuration right before it is created.
pub async fn servers<C: Cloud>(
    cloud: &C,
    desired: &Desired,
    plan: &Plan,
    observed: &Observed,
    boot: &(dyn Fn(&NodeName) -> Result<Boot, CloudError> + Sync),
    report: &(dyn Fn(Happening) + Sync),
) -> Vec<End> {
    let stopped = std::sync::atomic::AtomicBool::new(false);
    let work = plan.servers.iter().filter(|change| !change.steps.is_empty()).map(|change| {
        let stopped = &stopped;
        async move {
            let node = change.server.node.clone();
            if stopped.load(std::sync::atomic::Ordering::Relaxed) {
                return End { node, result: Err(CloudError::NotBegun) };
            }
            let run = Run { cloud, desired, observed, boot, report };
            let result = run.server(change).await;
            if result.as_ref().is_err_and(CloudError::is_final_for_all) {
                stopped.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            End { node, result }
        }
    });
    let mut ends: Vec<End> = stream::iter(work).buffer_unordered(PARALLEL).collect().await;
    ends.sort_by(|one, other| one.node.cmp(&other.node));
    ends
}

struct Run<'a, C> {
    cloud: &'a C,
    desired: &'a Desired,
    observed: &'a Observed,
    boot: &'a (dyn Fn(&NodeName) -> Result<Boot, CloudError> + Sync),
    report: &'a (dyn Fn(Happening) + Sync),
}

impl<C: Cloud> Run<'_, C> {
    async fn server(&self, change: &ServerChange) -> Result<FoundServer, CloudError> {
        let server = &change.server;
        let mut id = change.found.as_ref().map(|found| found.id.clone());
        let steps: BTreeSet<Step> = change.steps.iter().copied().collect();
        for step in steps {
            (self.report)(Happening::Step { node: server.node.clone(), step });
            match (step, &id) {
                (Step::Create, _) => id = Some(self.create(server).await?.id),
                (Step::Attach, Some(id)) => self.cloud.attach(id, server, self.observed).await?,
                (Step::Protect, Some(id)) => self.cloud.protect(id, server, self.desired, self.observed).await?,
                (Step::PowerOn, Some(id)) => self.cloud.power_on(id).await?,
                (_, None) => {}
            }
        }
        let found = self.complete(server, id.as_ref()).await?;
        (self.report)(Happening::Ready { node: server.node.clone() });
        Ok(found)
    }

    /// Creates the server. If the response is lost, the server is looked up by its name before it is created again.
    async fn create(&self, server: &Server) -> Result<FoundServer, CloudError> {
        let boot = (self.boot)(&server.node)?;
        let mut attempt = 1;
        loop {
            let error = match self.cloud.create(server, &boot, self.desired, self.observed).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if let Some(found) = self.cloud.find(&server.name, &self.desired.cluster).await? {
                return Ok(found);
            }
            if !error.is_lost() || attempt == ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
        }
    }

    async fn complete(&self, server: &Server, id: Option<&Id>) -> Result<FoundServer, CloudError> {
        let found = match id {
            Some(id) => self.cloud.server(id, &self.desired.cluster).await?,
            None => None,
        };
        found.ok_or_else(|| CloudError::Action {
            provider: self.cloud.name(),
            command: format!("keep {}", server.name),
            code: "not_found".to_owned(),
            message: "the server was deleted meanwhile".to_owned(),
        })
    }
}
