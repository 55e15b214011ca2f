//! Upkeep of etcd: defragmentation and transfer of leadership.

use std::{
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::{alarm::QUOTA_HINT, etcd::Health, upkeep::leader_last};
use machinist_model::{NodeName, moving::Command};
use machinist_rollout::{
    step::{StepError, gate},
    upkeep,
};

use super::session::{Session, failed};
use crate::{
    context::Context,
    failure::{Failure, Kind},
    rollout::target::voters,
    size::size,
};

/// Time for a member to become healthy again after a defragmentation.
const RECOVERY: Duration = Duration::from_secs(60);

/// Outcome of a defragmentation.
#[derive(Clone, Debug)]
pub struct Defragmented {
    /// The members, in the order of their defragmentation.
    pub members: Vec<Freed>,
    /// True if a quota alarm was disarmed.
    pub disarmed: bool,
}

/// Outcome of a change of leadership.
#[derive(Clone, Debug)]
pub enum Moved {
    /// The member was already the leader.
    LeadsAlready {
        /// Name of the leader.
        leader: NodeName,
    },
    /// Leadership moved to another member.
    Moved {
        /// Previous leader.
        before: NodeName,
        /// Current leader; none during an election.
        leader: Option<NodeName>,
    },
}

/// Defragments one member after the other, the leader last.
///
/// # Errors
/// The remaining members would lose quorum during a defragmentation, or a member did not become healthy again.
pub fn defragment(context: &Context) -> Result<Defragmented, Failure> {
    context.project.refuse_in_move(Command::MaintainEtcd)?;
    Session::open(context, None)?.defragment()
}

/// Transfers the leadership to a member; by default to the one with the highest applied index.
///
/// # Errors
/// The member cannot lead, or no member answers.
pub fn move_leader(context: &Context, member: Option<&str>) -> Result<Moved, Failure> {
    context.project.refuse_in_move(Command::MaintainEtcd)?;
    Session::open(context, None)?.move_leader(member)
}

impl Session<'_> {
    /// Defragments one member after the other, the leader last, each only while the remaining members hold a quorum.
    /// After a quota alarm, the history is compacted beforehand, and the alarm is disarmed afterwards.
    fn defragment(&self) -> Result<Defragmented, Failure> {
        self.lock()?;
        let first = self.voice()?;
        // Refused up front instead of halfway: an absent member cannot be defragmented either.
        for node in first.health.members.keys() {
            refuse_if_needed(&first.health, node)?;
        }
        let notice = first.health.quota_notice();
        if let Some(notice) = &notice {
            refuse_to_disarm(&first.health)?;
            let revision = upkeep::compact(&first, &self.token(&first.node)?).map_err(|error| failed(&error))?;
            self.context.events.remark(format!("{notice}; its history up to revision {revision} is compacted"));
        }
        let mut freed = Vec::new();
        for node in leader_last(&first.health) {
            freed.push(self.defragment_one(node)?);
        }
        if notice.is_some() {
            self.disarm(&freed)?;
        }
        Ok(Defragmented { members: freed, disarmed: notice.is_some() })
    }

    fn defragment_one(&self, node: NodeName) -> Result<Freed, Failure> {
        let health = self.voice()?.health;
        refuse_if_needed(&health, &node)?;
        let (remote, ip) = self.member(&node)?;
        self.context.events.remark(format!("{node} is defragmented; it answers nobody meanwhile"));
        let size = |health: &Health| health.members.get(&node).and_then(|member| member.database_bytes);
        let before = size(&health).unwrap_or(0);
        upkeep::defragment(&*remote, &self.token(&node)?, ip).map_err(|error| failed(&error))?;
        let after = size(&self.recovered(&node)?).unwrap_or(0);
        Ok(Freed { node, before, after })
    }

    /// Disarms the quota alarm and tests a write through each member. A member that still exceeds its quota raises the
    /// alarm again.
    fn disarm(&self, freed: &[Freed]) -> Result<(), Failure> {
        let voice = self.voice()?;
        refuse_to_disarm(&voice.health)?;
        upkeep::disarm(&voice, &self.token(&voice.node)?).map_err(|error| failed(&error))?;
        for Freed { node, after, .. } in freed {
            let (remote, ip) = self.member(node)?;
            upkeep::try_write(&*remote, ip).map_err(|error| {
                let message = format!("{node}: etcd refuses writes although the alarm was disarmed: {error}");
                let why = format!("its database still has {}", size(*after));
                Failure::new(Kind::Failed, format!("{message} ({why})")).hint(QUOTA_HINT)
            })?;
        }
        if let Some(notice) = self.voice()?.health.quota_notice() {
            return Err(Failure::new(Kind::Failed, format!("the alarm was disarmed and raised again: {notice}"))
                .hint(QUOTA_HINT));
        }
        self.context.events.remark("the alarm is disarmed; each member takes writes");
        Ok(())
    }

    /// Waits until the member is healthy again.
    fn recovered(&self, node: &NodeName) -> Result<Health, Failure> {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let health = self.voice()?.health;
            let problems = health.members.get(node).map(|member| member.problems.join(", ")).unwrap_or_default();
            if problems.is_empty() {
                return Ok(health);
            }
            if Instant::now() >= deadline {
                let failure =
                    Failure::new(Kind::Failed, format!("{node} is not well after it was defragmented: {problems}"));
                return Err(
                    failure.hint(format!("the others were left as they are; `journalctl -u etcd` on {node} says more"))
                );
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Transfers the leadership.
    fn move_leader(&self, wanted: Option<&str>) -> Result<Moved, Failure> {
        let members = voters(&self.cluster);
        self.lock()?;
        let health = self.voice()?.health;
        let Some(leader) = health.leader.clone() else {
            return Err(
                Failure::new(Kind::Failed, "etcd has no leader now").hint("`machinist etcd status` shows the members")
            );
        };
        let (heir, id) = heir(&health, wanted)?;
        if heir == leader {
            return Ok(Moved::LeadsAlready { leader });
        }
        let (remote, ip) = self.member(&leader)?;
        let token = self.token(&leader)?;
        upkeep::move_leader(&*remote, &token, ip, id).map_err(|error| failed(&error))?;
        let now = gate::etcd(&*remote, &members).map_err(|error: StepError| failed(&error))?.leader;
        Ok(Moved::Moved { before: leader, leader: now })
    }
}

/// Database sizes of a member before and after its defragmentation, in bytes.
#[derive(Clone, Debug)]
pub struct Freed {
    /// Name of the member.
    pub node: NodeName,
    /// Size before.
    pub before: u64,
    /// Size after.
    pub after: u64,
}

/// Refuses to disarm an alarm for corrupt data, which must be kept: etcdctl disarms all alarms at once.
fn refuse_to_disarm(health: &Health) -> Result<(), Failure> {
    let Some((node, problems)) = health.broken().next() else { return Ok(()) };
    let message = format!("the quota alarm cannot be disarmed: {node} {problems}");
    Err(Failure::new(Kind::Refused, message)
        .hint("`machinist etcd status` shows the members; every one has to be healthy"))
}

fn refuse_if_needed(health: &Health, node: &NodeName) -> Result<(), Failure> {
    match health.objection(node) {
        None => Ok(()),
        Some(objection) => Err(Failure::new(Kind::Refused, format!("{node} cannot be busy now: {objection}"))
            .hint("`machinist etcd status` shows the members; bring them back first")),
    }
}

fn heir(health: &Health, wanted: Option<&str>) -> Result<(NodeName, u64), Failure> {
    let Some(wanted) = wanted else {
        let (name, id) = health
            .heir()
            .ok_or_else(|| Failure::new(Kind::Refused, "there is no other healthy member that could lead"))?;
        return Ok((name.clone(), id));
    };
    let found = health.members.iter().find(|(name, _)| name.as_str() == wanted);
    let Some((name, member)) = found else {
        let names: Vec<&str> = health.members.keys().map(NodeName::as_str).collect();
        return Err(Failure::new(
            Kind::Input,
            format!("{wanted} is no member of etcd; those are {}", names.join(", ")),
        ));
    };
    match member.id.filter(|_| member.problems.is_empty()) {
        Some(id) => Ok((name.clone(), id)),
        None => Err(Failure::new(Kind::Refused, format!("{name} cannot lead: it {}", member.problems.join(", ")))),
    }
}
