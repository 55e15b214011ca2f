//! Check right before a voting member changes: the others must have a quorum without it.

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
    /// Refuses a change that would break the quorum. Returns true if etcd is known to accept writes.
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

    /// Returns true if etcd is known to accept writes. A quota alarm is reported as older than the activation, not as
    /// its effect.
    fn takes_writes(&self, node: &NodeName, health: Option<&Health>) -> bool {
        let Some(health) = health else { return false };
        let Some(notice) = health.quota_notice() else { return true };
        let text = format!("careful: {notice}; it did so before this change, which continues. {QUOTA_HINT}");
        self.context.events.node(node, EventKind::Note { text });
        false
    }

    /// Moves the leadership away from the member, or refuses the change. A member that is already down does not count
    /// toward the quorum, and a deploy may repair it. Returns the health of etcd, `None` if it did not respond.
    pub(super) fn ask_for_quorum(&self, host: &Host, hosts: &Hosts) -> Result<Option<Health>, StepError> {
        let node = &host.target.node;
        let health = match self.health(hosts, Some(node)) {
            Ok(health) => health,
            // A server that is about to join needs a healthy cluster.
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

    /// The recorded voters, which were counted when the locks were taken, may be older than etcd's own list.
    fn refuse_unlocked_voters(&self, health: &Health) -> Result<(), StepError> {
        let voters = health.members.iter().filter(|(_, member)| member.id.is_some() && !member.learner);
        let locked = voters.clone().filter(|(name, _)| self.context.locks.has(name)).count();
        let strangers = health.unmanaged.iter().filter(|stranger| !stranger.learner).count();
        let all = voters.count() + strangers;
        if locked >= quorum_of(all) {
            return Ok(());
        }
        if self.policy.unlocked_voters {
            let text = format!("careful: etcd has {all} voters, and only {locked} of them are locked, as requested");
            self.context.events.run(EventKind::Note { text });
            return Ok(());
        }
        Err(StepError::Quorum(format!("etcd has {all} voters, and only {locked} of them are locked")))
    }
}

/// Returns true if the new system neither stops nor restarts etcd, so that its member stays up. Unknown counts as
/// false.
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

/// Returns true if the host's etcd is not running at this moment. Without an answer it counts as running.
fn is_down(host: &Host) -> bool {
    gather(&*host.remote).is_ok_and(|facts| !facts.etcd_active)
}
