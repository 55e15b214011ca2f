//! Promotions that etcd 3.5.1 to 3.5.19 forgets in its data (etcd-io/etcd#19557): a warning before one, and the correction
//! of older ones after a member was promoted under a version that stores it.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_etcd::{
    etcd::{Health, Member},
    stored::{Kind, differences},
    upgrade::{forgets_promotions, takes_members_from_its_data},
    version::Version,
};
use machinist_model::NodeName;
use machinist_rollout::{
    membership::{Voice, write_again},
    step::{Connector, StepError, gate},
    stored::stored_members,
};

use crate::{context::Context, failure, locks::Locks};

/// Warns before a member is promoted under a version that forgets it.
pub(super) fn warn(context: &Context, node: &NodeName, health: &Health) {
    let Some((other, version)) = versions(health).find(|(_, version)| forgets_promotions(*version)) else { return };
    context.events.warn(format!(
        "{node}: {other} runs etcd {version}, which does not store a promotion where 3.6 reads it: 3.6 would not start. \
         `machinist upgrade` corrects it on the way to 3.6; an upgrade by hand needs 3.5.26 or newer first, and `machinist \
         etcd verify --repair`"
    ));
}

/// Writes voters again that are learners in the data of a member. Without effect under a version that would forget it, and
/// under one that serves its members from the same data. A failure is a warning: the member votes.
pub(super) fn check(
    context: &Context,
    connector: &Connector,
    locks: &Locks,
    voice: &Voice,
    members: &BTreeMap<NodeName, IpAddr>,
) {
    match correct(connector, locks, voice, members) {
        Ok(corrected) => {
            for node in corrected {
                context.events.note(&node, "its promotion is written to the data of all members again");
            }
        }
        Err(error) => context.events.warn(format!(
            "the data of the members was not compared: {}; `machinist etcd verify` does it",
            failure::words(&voice.node, &error)
        )),
    }
}

fn correct(
    connector: &Connector,
    locks: &Locks,
    voice: &Voice,
    members: &BTreeMap<NodeName, IpAddr>,
) -> Result<Vec<NodeName>, StepError> {
    let health = gate::etcd(&*voice.remote, members)?;
    let is_repairable =
        |(_, version): (&NodeName, Version)| !forgets_promotions(version) && !takes_members_from_its_data(version);
    if !health.is_whole() || !versions(&health).all(is_repairable) {
        return Ok(Vec::new());
    }
    let mut demoted = BTreeMap::new();
    for (node, ip) in members {
        let remote = connector.connect(node)?;
        let found = differences(&stored_members(&*remote, *ip)?, &health);
        demoted
            .extend(found.into_iter().filter(|found| found.kind == Kind::Demoted).map(|found| (found.id, found.name)));
    }
    let mut corrected = Vec::new();
    for (node, member) in &health.members {
        let (Some(id), Some(ip)) = (member.id.filter(|id| demoted.contains_key(id)), members.get(node)) else {
            continue;
        };
        write_again(voice, &locks.token(&voice.node)?, id, *ip)?;
        corrected.push(node.clone());
    }
    Ok(corrected)
}

fn versions(health: &Health) -> impl Iterator<Item = (&NodeName, Version)> {
    let version = |member: &Member| Version::parse(member.version.as_deref()?);
    health.members.iter().filter_map(move |(node, member)| Some((node, version(member)?)))
}
