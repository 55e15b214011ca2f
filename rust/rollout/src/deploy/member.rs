//! The check right before a voting member is touched: the others hold a quorum without it.

use std::path::Path;

use machinist_etcd::{alarm::QUOTA_HINT, etcd::Health};
use machinist_model::{NodeName, quorum::quorum as quorum_of};
use machinist_switch::{Action, consequences::consequences, units::decide};

use super::{
    host::{Host, Hosts},
    run::Deploy,
};
use crate::{
    EventKind, HostFacts, local_system,
    plan::{inspect, quorum},
    step::{StepError, gather},
};

impl Deploy {
    /// Refuses a change that would cost the quorum. Returns whether etcd is known to take writes.
    pub(super) fn member_may_change(&self, host: &Host, hosts: &Hosts, facts: &HostFacts) -> Result<bool, StepError> {
        let node = &host.target.node;
        match self.ask_for_quorum(host, hosts) {
            Err(StepError::Quorum(objection)) if facts.etcd_data && leaves_etcd_alone(host) => {
                let text = format!("careful: {objection}; etcd does not restart by this change, so it goes on");
                self.context.events.node(node, EventKind::Note { text });
                Ok(false)
            }
            asked => Ok(self.takes_writes(node, asked?.as_ref())),
        }
    }

    /// Whether etcd is known to take writes. A quota alarm from before the activation is reported: it is not its work.
    fn takes_writes(&self, node: &NodeName, health: Option<&Health>) -> bool {
        let Some(health) = health else { return false };
        let Some(notice) = health.quota_notice() else { return true };
        let text = format!("careful: {notice}; it did so before this change, which continues. {QUOTA_HINT}");
        self.context.events.node(node, EventKind::Note { text });
        false
    }

    /// Takes the member out of the quorum's way, or refuses. A member that is down already takes nothing from a quorum, and
    /// a deploy may be what brings it back. Returns the health of etcd, `None` if it gave no answer.
    pub(super) fn ask_for_quorum(&self, host: &Host, hosts: &Hosts) -> Result<Option<Health>, StepError> {
        let node = &host.target.node;
        let health = match self.health(hosts, Some(node)) {
            Ok(health) => health,
            // One that is only to join needs a cluster that is well.
            Err(_) if is_down(host) && !self.topology().datastore.joins(&host.facts) => return Ok(None),
            Err(error) => return Err(error),
        };
        if health.members.get(node).is_some_and(|member| member.started) && !host.facts.etcd_data {
            return Err(StepError::Quorum(self.topology().datastore.data_is_gone(node)));
        }
        match health.objection(node) {
            Some(objection) if !is_down(host) || self.topology().datastore.joins(&host.facts) => {
                Err(StepError::Quorum(objection))
            }
            None if host.facts.etcd_active => {
                self.refuse_unlocked_voters(&health)?;
                self.move_leader(host, &health);
                Ok(Some(health))
            }
            _ => {
                self.move_leader(host, &health);
                Ok(Some(health))
            }
        }
    }

    /// The record by which voters were counted when they were locked may be older than what etcd says.
    fn refuse_unlocked_voters(&self, health: &Health) -> Result<(), StepError> {
        let voters = health.members.iter().filter(|(_, member)| member.id.is_some() && !member.learner);
        let locked = voters.clone().filter(|(name, _)| self.context.locks.has(name)).count();
        let strangers = health.unmanaged.iter().filter(|stranger| !stranger.learner).count();
        let all = voters.count() + strangers;
        if locked >= quorum_of(all) {
            return Ok(());
        }
        Err(StepError::Quorum(format!("etcd has {all} voters, and only {locked} of them are locked")))
    }
}

/// Whether the new system neither stops nor restarts etcd: then its member is not taken away. Without knowing, it does.
fn leaves_etcd_alone(host: &Host) -> bool {
    let units = Path::new(host.target.system.as_str()).join("etc/systemd/system");
    let Ok(new) = local_system::unit_tree(&units) else { return false };
    let Ok(old) = inspect::ask(&*host.remote, &new) else { return false };
    let changes = consequences(&decide(&old.units, &new), &old.units, &new);
    let disturbs = |action| matches!(action, Action::Stop | Action::Restart | Action::Start | Action::Again);
    let is_active = |unit: &&str| old.units.active.get(*unit).is_some_and(|unit| unit.state == "active");
    quorum::UNITS.iter().any(is_active)
        && !changes.iter().any(|change| quorum::UNITS.contains(&change.unit.as_str()) && disturbs(change.action))
}

/// Whether the host's etcd does not run, asked right now. Without an answer it counts as running.
fn is_down(host: &Host) -> bool {
    gather(&*host.remote).is_ok_and(|facts| !facts.etcd_active)
}
