//! Comparison of the members that etcd reports with those in the data of each member, and the correction of promotions that
//! the data forgot.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::{
    etcd::Health,
    stored::{Difference, Kind as Differs, differences},
    upgrade::forgets_promotions,
    version::Version,
};
use machinist_model::{NodeName, moving::Command};
use machinist_rollout::{membership::write_again, step::StepError, stored::stored_members};

use super::session::{Session, failed};
use crate::{
    context::Context,
    failure::{Failure, Kind},
    rollout::target::voters,
};

/// Time for the members to apply a correction: each does so when it reads its log.
const APPLYING: Duration = Duration::from_secs(15);

/// Differences of the data of each member, by the member whose data it is.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// The differences that are left. A member whose data agrees has none.
    pub differences: BTreeMap<NodeName, Vec<Difference>>,
    /// Names of voters whose promotion was written again.
    pub repaired: Vec<NodeName>,
}

impl Verified {
    /// Returns true if the data of all members agrees with what etcd reports.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.differences.values().all(Vec::is_empty)
    }

    /// Refuses to continue if the data of a member differs.
    ///
    /// # Errors
    /// It does.
    pub fn require(&self) -> Result<(), Failure> {
        let of_node = |(node, found): (&NodeName, &Vec<Difference>)| {
            let words: Vec<String> = found.iter().map(ToString::to_string).collect();
            (!words.is_empty()).then(|| format!("{node}: {}", words.join("; ")))
        };
        let list: Vec<String> = self.differences.iter().filter_map(of_node).collect();
        if list.is_empty() {
            return Ok(());
        }
        let message =
            format!("the data of etcd's members differs from the members that etcd reports: {}", list.join("; "));
        Err(Failure::new(Kind::Refused, message).hint(
            "a removed member leaves the data when etcd 3.5.26 or newer is restarted there, one node after the other; a \
             missing one: `machinist node replace NODE`",
        ))
    }
}

/// Compares the data of each member with the members that etcd reports. With `repair`, forgotten promotions are written
/// again, if all members run a version that stores them.
///
/// # Errors
/// A member does not answer, its data cannot be read, or a repair is refused since a node moves.
pub fn run(context: &Context, repair: bool) -> Result<Verified, Failure> {
    if repair {
        context.project.refuse_in_move(Command::RepairEtcd)?;
    }
    let session = Session::open(context, None)?;
    let differences = session.all_differences()?;
    let demoted: Vec<&Difference> =
        differences.values().flatten().filter(|found| found.kind == Differs::Demoted).collect();
    if !repair || demoted.is_empty() {
        return Ok(Verified { differences, repaired: Vec::new() });
    }
    let ids: Vec<u64> = demoted.iter().map(|found| found.id).collect();
    let repaired = session.write_again(&ids)?;
    let deadline = Instant::now() + APPLYING;
    loop {
        let differences = session.all_differences()?;
        let is_demoted = differences.values().flatten().any(|found| found.kind == Differs::Demoted);
        if !is_demoted || Instant::now() >= deadline {
            return Ok(Verified { differences, repaired });
        }
        thread::sleep(Duration::from_millis(500));
    }
}

impl Session<'_> {
    fn all_differences(&self) -> Result<BTreeMap<NodeName, Vec<Difference>>, Failure> {
        let health = self.voice()?.health;
        let names = voters(&self.cluster).into_keys();
        names.map(|node| self.differences_of(&node, &health).map(|found| (node, found))).collect()
    }

    fn differences_of(&self, node: &NodeName, health: &Health) -> Result<Vec<Difference>, Failure> {
        let (remote, ip) = self.member(node)?;
        let stored = stored_members(&*remote, ip).map_err(|error: StepError| {
            let message = format!("{node}: the members in the data of its etcd cannot be read");
            let cause = failed(&error);
            Failure { message, causes: vec![cause.in_one_line()], ..cause }
        })?;
        Ok(differences(&stored, health))
    }

    /// Writes these voters to the data of all members again.
    fn write_again(&self, ids: &[u64]) -> Result<Vec<NodeName>, Failure> {
        self.lock()?;
        let voice = self.voice()?;
        refuse_repair(&voice.health)?;
        let mut repaired = Vec::new();
        let addresses = voters(&self.cluster);
        for (node, member) in &voice.health.members {
            let (Some(id), Some(ip)) = (member.id.filter(|id| ids.contains(id)), addresses.get(node)) else { continue };
            let token = self.token(&voice.node)?;
            write_again(&voice, &token, id, *ip).map_err(|error| failed(&error))?;
            self.context.events.note(node, "its promotion is written to the data of all members again");
            repaired.push(node.clone());
        }
        Ok(repaired)
    }
}

/// An update of a learner would make it a voter in the data only, and versions with the fault change nothing.
fn refuse_repair(health: &Health) -> Result<(), Failure> {
    let learner = health.members.values().any(|member| member.learner) || !health.unmanaged.is_empty();
    if !health.is_whole() || learner {
        let failure =
            Failure::new(Kind::Refused, "the members cannot be written again now: not all are healthy voters");
        return Err(failure.hint("`machinist etcd status` shows the members"));
    }
    let forgets = |(node, member): (&NodeName, &machinist_etcd::etcd::Member)| {
        let version = Version::parse(member.version.as_deref()?)?;
        forgets_promotions(version).then(|| format!("{node} runs {version}"))
    };
    let old: Vec<String> = health.members.iter().filter_map(forgets).collect();
    if old.is_empty() {
        return Ok(());
    }
    let message = format!("etcd forgets promotions in its data until 3.5.20: {}", old.join(", "));
    Err(Failure::new(Kind::Refused, message).hint("`machinist upgrade --to RELEASE` deploys 3.5.26 or newer first"))
}
