//! Transfer of etcd's leadership before the leader changes: a transfer takes milliseconds, an election after a crash
//! more than a second without writes.

use std::time::Duration;

use machinist_etcd::etcd::{Health, MOVE_LEADER, client_url};

use super::{host::Host, run::Deploy};
use crate::{EventKind, lock::run_under, script};

impl Deploy {
    /// Moves the leadership to the healthiest follower, if the host's member is the leader. If that fails the run
    /// continues: the others have a quorum and elect a leader.
    pub(super) fn move_leader(&self, host: &Host, health: &Health) {
        let node = &host.target.node;
        let (Some((heir, id)), Some(ip)) = (health.heir(), self.topology().members.get(node)) else { return };
        if health.leader.as_ref() != Some(node) {
            return;
        }
        let variables = [("endpoint", client_url(*ip)), ("heir", format!("{id:x}"))];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let script = script::with(&variables, MOVE_LEADER);
        let moved =
            self.context.locks.token(node).and_then(|token| {
                run_under(&*host.remote, &token, "move the leader", &script, Duration::from_secs(20))
            });
        let text = match moved {
            Ok(_) => format!("handed the leadership of etcd over to {heir}"),
            Err(error) => format!("careful: the leadership of etcd could not be handed over to {heir}: {error}"),
        };
        self.context.events.node(node, EventKind::Note { text });
    }
}
