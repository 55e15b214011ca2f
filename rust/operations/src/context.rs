//! Context of an operation: the cluster's directory, how its nodes are reached, and who is there.

use std::{path::PathBuf, sync::Arc};

use machinist_model::{Cluster, NodeName};
use machinist_rollout::{Interrupt, step::Connector};
use time::OffsetDateTime;

use crate::{
    certs,
    consent::Consent,
    event::Events,
    failure::{Failure, Kind},
    keyring::Keyring,
    project::Project,
};

/// Source of the current time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    /// The computer's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// A clock that stands still.
    #[must_use]
    pub fn fixed(time: OffsetDateTime) -> Self {
        Self(Arc::new(move || time))
    }

    /// Returns the time, in UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

/// Connections to nodes.
#[derive(Clone)]
pub enum Connections {
    /// Over SSH, with these private keys before those of the agent and of ~/.ssh.
    Ssh {
        /// Files of private keys.
        keys: Vec<PathBuf>,
    },
    /// Over connections that the caller opens.
    Given(Connector),
}

/// Context of an operation. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The cluster's directory.
    pub project: Project,
    /// Opens private keys of `certs/`.
    pub keyring: Keyring,
    /// Connections to nodes.
    pub connections: Connections,
    /// Operator, `user@host`. Nodes keep it in their locks.
    pub who: String,
    /// Consent to what cannot be undone.
    pub consent: Consent,
    /// The time.
    pub clock: Clock,
    /// Receiver of events.
    pub events: Events,
    /// Stops the operation where that is safe.
    pub interrupt: Interrupt,
}

impl Context {
    /// Stops the operation here if its interrupt is set: nothing is under way on any machine.
    pub(crate) fn stop_here(&self) -> Result<(), Failure> {
        if self.interrupt.is_set() {
            return Err(Failure::new(Kind::Failed, "interrupted; nothing is under way on any machine")
                .hint("run the same command again"));
        }
        Ok(())
    }

    /// Refuses to continue without the certificates that the nodes need. Warns of those that expire soon.
    ///
    /// # Errors
    /// A certificate is missing or wrong.
    pub fn require_certificates(&self, cluster: &Cluster, nodes: &[NodeName]) -> Result<(), Failure> {
        let warnings = certs::require(&self.project.certs(), cluster, nodes, self.clock.now())?;
        warnings.into_iter().for_each(|warning| self.events.warn(warning));
        Ok(())
    }
}
