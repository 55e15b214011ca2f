//! Activation of one host: the gates on the host, the gate of etcd, and the confirmation over a fresh connection.

use std::sync::Arc;

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError};

use super::{host::Host, run::Deploy};
use crate::{
    HostFacts, Interrupt,
    lock::Keeper,
    step::{
        StepError,
        activate::{Activation, State},
        gate::{Demand, EtcdGate},
    },
    text::chain,
};

impl Deploy {
    /// Activates a system on a host, waits for the gates and confirms.
    pub(super) fn activate(
        &self,
        activation: &Activation,
        host: &Host,
        facts: &HostFacts,
        keeper: &Keeper,
        demand: Demand,
    ) -> Result<(), StepError> {
        keeper.activating(activation);
        activation.start(&*host.remote, facts).map_err(unknown)?;
        let state = self.wait_for_gates(activation, host)?;
        self.finish(activation, host, state, demand)
    }

    /// Waits for the host's gates, and reports which one is being checked.
    pub(super) fn wait_for_gates(&self, activation: &Activation, host: &Host) -> Result<State, StepError> {
        let shown = |gate: &str| self.context.events.step(&activation.node, format!("waiting for the gate {gate}"));
        activation.wait_for_gates(&*host.remote, &self.context.connector, shown)
    }

    pub(super) fn finish(
        &self,
        activation: &Activation,
        host: &Host,
        state: State,
        demand: Demand,
    ) -> Result<(), StepError> {
        let node = &activation.node;
        if state != State::Waiting {
            return activation.verdict(state, &*host.remote);
        }
        if self.context.locks.token(node).is_err() {
            // Without the lock the host reverts by itself, or another process of this run confirms the activation.
            let state =
                activation.wait(&*host.remote, &self.context.connector, "waiting|reverting").map_err(unknown)?;
            return activation.verdict(state, &*host.remote);
        }
        if self.interrupt().is_set() {
            let why = "the operator stopped the run";
            let state = activation.abort(&*host.remote, &self.context.connector, why).map_err(unknown)?;
            return activation.verdict(state, &*host.remote);
        }
        if self.policy.no_rollback {
            return activation.confirm_at_once(&*host.remote, &self.context.connector).map_err(unknown);
        }
        if self.topology().members.contains_key(node) {
            self.context.events.step(node, "waiting for etcd to be healthy");
            self.gate(activation, host, demand)?;
        }
        self.context.events.step(node, "confirming over a fresh connection");
        match self.context.connector.connect(node) {
            Ok(fresh) => activation.confirm_at_once(&*fresh, &self.context.connector).map_err(unknown),
            // The new system refuses connections. It reverts by itself in time; the old connection, if still open,
            // makes it revert at once.
            Err(error) => {
                let why = format!("no fresh connection could be opened: {error}");
                let state = activation.abort(&*host.remote, &self.context.connector, &why).map_err(|_| {
                    let seconds = self.policy.bounds.confirmation.as_secs();
                    StepError::Unknown { why: format!("{why}; the host reverts by itself within {seconds} s") }
                })?;
                activation.verdict(state, &*host.remote)
            }
        }
    }

    /// Returns the gate of etcd after a change of one of its members.
    pub(super) const fn etcd_gate<'a>(
        &'a self,
        node: &'a NodeName,
        demand: Demand,
        interrupt: &'a Interrupt,
    ) -> EtcdGate<'a> {
        EtcdGate { members: &self.topology().members, node, demand, bound: self.policy.bounds.etcd, interrupt }
    }

    /// Waits until etcd is healthy, over the open connection, or over a new one if the activation closed it. If the
    /// gate stays closed, the host reverts at once, and etcd's log is reported.
    fn gate(&self, activation: &Activation, host: &Host, demand: Demand) -> Result<(), StepError> {
        let node = &activation.node;
        let gate = self.etcd_gate(node, demand, self.interrupt());
        let (remote, asked) = match gate.wait(&*host.remote) {
            Err(StepError::Remote(error)) if error.is_connection_failure() => {
                let unknown = |error: RemoteError| StepError::Unknown { why: error.to_string() };
                let fresh: Arc<dyn Remote> = Arc::from(self.context.connector.connect(node).map_err(unknown)?);
                let asked = gate.wait(&*fresh);
                (fresh, asked)
            }
            asked => (Arc::clone(&host.remote), asked),
        };
        let Err(closed) = asked else { return Ok(()) };
        let log = activation.log_of(&*remote, self.topology().datastore.unit());
        let state = activation.abort(&*remote, &self.context.connector, &closed.to_string())?;
        activation.verdict(state, &*remote).map_err(|error| error.with_log(log))
    }
}

/// Converts connection errors: once an activation has begun, only the host knows its result.
fn unknown(error: StepError) -> StepError {
    match error {
        StepError::Remote(error) => {
            // The line already begins with the node's name, so it is removed from the error.
            let text = chain(&error);
            StepError::Unknown { why: text.split_once(": ").map_or(text.clone(), |(_, why)| why.to_owned()) }
        }
        error => error,
    }
}
