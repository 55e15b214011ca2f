//! Members of etcd, as reported by etcd itself.

use machinist_etcd::etcd::{Health, hexadecimal};
use machinist_model::NodeName;
use serde::Serialize;

use super::session::Session;
use crate::{context::Context, failure::Failure};

/// Members of etcd.
#[derive(Debug, Serialize)]
pub struct Members {
    /// Member that answered.
    pub asked: NodeName,
    /// Members, starting with those in machines.nix.
    pub members: Vec<Member>,
    /// True if all members are present and healthy.
    #[serde(skip)]
    pub healthy: bool,
}

/// A member of etcd.
#[derive(Debug, Serialize)]
pub struct Member {
    /// Name; `-` for a member without one.
    pub name: String,
    /// Identifier, in hexadecimal digits; null if etcd does not list it.
    pub id: Option<String>,
    /// Address; the peer URLs for a member that is missing from machines.nix.
    pub address: String,
    /// Description of its state.
    pub state: String,
    /// True if no problem was found.
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

/// Health of etcd, as reported by one member.
#[derive(Debug)]
pub struct Status {
    /// Member that answered.
    pub asked: NodeName,
    /// Report of that member.
    pub health: Health,
}

impl Status {
    /// True if all members are present and healthy, and writes are accepted.
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
