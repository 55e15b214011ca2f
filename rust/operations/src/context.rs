//! Context of an operation: the cluster's directory, access to its nodes, and the caller's callbacks.

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
    /// Returns the system clock of the computer.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(OffsetDateTime::now_utc))
    }

    /// Returns a clock with a fixed time.
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

/// Access to nodes.
#[derive(Clone)]
pub enum Connections {
    /// Over SSH, with these private keys before those of the agent and of ~/.ssh.
    Ssh {
        /// Paths of private keys.
        keys: Vec<PathBuf>,
    },
    /// Over connections opened by the caller.
    Given(Connector),
}

/// Context of an operation. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Cluster's directory.
    pub project: Project,
    /// Decrypts the private keys in `certs/`.
    pub keyring: Keyring,
    /// Access to the nodes.
    pub connections: Connections,
    /// Operator of the run, `user@host`. Nodes keep it in their locks.
    pub who: String,
    /// Source of consent to irreversible actions.
    pub consent: Consent,
    /// Source of the current time.
    pub clock: Clock,
    /// Receiver of events.
    pub events: Events,
    /// Interrupt that stops the operation at the next safe point.
    pub interrupt: Interrupt,
}

impl Context {
    /// Stops the operation here if its interrupt is set: no machine is in the middle of a change.
    pub(crate) fn stop_here(&self) -> Result<(), Failure> {
        if self.interrupt.is_set() {
            return Err(Failure::new(Kind::Failed, "interrupted; nothing is under way on any machine")
                .hint("run the same command again"));
        }
        Ok(())
    }

    /// Refuses to continue unless the certificates of the nodes exist. Warns of those that expire soon.
    ///
    /// # Errors
    /// A certificate is missing or invalid.
    pub fn require_certificates(&self, cluster: &Cluster, nodes: &[NodeName]) -> Result<(), Failure> {
        let warnings = certs::require(&self.project.certs(), cluster, nodes, self.clock.now())?;
        let of_hosts = certs::hosts::warning(&self.project, cluster, nodes, self.clock.now())?;
        warnings.into_iter().chain(of_hosts).for_each(|warning| self.events.warn(warning));
        Ok(())
    }
}
