//! Members of etcd, as etcd itself has them.

use machinist_etcd::{etcd::Health, membership::hexadecimal};
use machinist_model::NodeName;
use serde::Serialize;

use super::session::Session;
use crate::{context::Context, failure::Failure};

/// Members of etcd.
#[derive(Debug, Serialize)]
pub struct Members {
    /// The member that answered.
    pub asked: NodeName,
    /// The members, those that machines.nix knows first.
    pub members: Vec<Member>,
    /// True if all members are there and healthy.
    #[serde(skip)]
    pub healthy: bool,
}

/// A member of etcd.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Its name; `-` for one without.
    pub name: String,
    /// Its identifier, in hexadecimal digits; null if etcd does not have it.
    pub id: Option<String>,
    /// Its address, or its peer URLs if machines.nix does not know it.
    pub address: String,
    /// Its state in words.
    pub state: String,
    /// True if there is nothing to complain about.
    #[serde(skip)]
    pub healthy: bool,
}

/// Lists the members.
///
/// # Errors
/// No member answers.
pub fn list(context: &Context) -> Result<Members, Failure> {
    let session = Session::open(context, None)?;
    let voice = session.voice()?;
    let leader = voice.health.leader.as_ref();
    let known = voice.health.members.iter().map(|(name, member)| {
        let state = match member.problems.as_slice() {
            [] if leader == Some(name) => "healthy, leader".to_owned(),
            [] => "healthy".to_owned(),
            problems => problems.join(", "),
        };
        let address = session.cluster.nodes.get(name).map(|node| node.ip.to_string()).unwrap_or_default();
        let healthy = member.problems.is_empty();
        Member { name: name.to_string(), id: member.id.map(hexadecimal), address, state, healthy }
    });
    let strangers = voice.health.unmanaged.iter().map(|stranger| {
        let state = if stranger.healthy { "healthy" } else { "not healthy" };
        let votes = if stranger.learner { "a learner" } else { "votes" };
        let state = format!("{state}, {votes}, machines.nix does not know it");
        let name = if stranger.name.is_empty() { "-".to_owned() } else { stranger.name.clone() };
        let address = stranger.peer_urls.join(" ");
        Member { name, id: Some(hexadecimal(stranger.id)), address, state, healthy: false }
    });
    let members = known.chain(strangers).collect();
    Ok(Members { asked: voice.node.clone(), members, healthy: voice.health.is_whole() })
}

/// Health of etcd, as a member reports it.
#[derive(Debug)]
pub struct Status {
    /// The member that answered.
    pub asked: NodeName,
    /// Its report.
    pub health: Health,
}

impl Status {
    /// True if all members are there and healthy, and writes are accepted.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health.is_whole() && self.health.over_quota.is_empty()
    }
}

/// Reports the health of each member.
///
/// # Errors
/// No member answers.
pub fn status(context: &Context) -> Result<Status, Failure> {
    let voice = Session::open(context, None)?.voice()?;
    Ok(Status { asked: voice.node, health: voice.health })
}
