//! Status of every node, and of etcd.

use std::{collections::BTreeSet, net::IpAddr};

use machinist_etcd::etcd::Health;
use machinist_model::{Cluster, NodeName, Role};
use machinist_nix::StorePath;
use machinist_rollout::HostFacts;
use serde::Serialize;

use crate::{
    connect,
    context::Context,
    failure::{self, Failure},
    query::{self, Asked},
};

/// Request for a status report.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Names, globs, `@role` or `label=value`; all machines if empty.
    pub targets: Vec<String>,
}

/// Status of the cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Description of etcd's alarm, such as an exhausted quota.
    pub etcd_alarm: Option<String>,
    /// True if no problem was found.
    pub healthy: bool,
    /// Nodes, sorted by name.
    pub nodes: Vec<Node>,
    /// Descriptions of etcd members that are missing from machines.nix.
    pub unmanaged_etcd_members: Vec<String>,
}

/// Status of a node.
#[derive(Debug, Serialize)]
pub struct Node {
    /// Name of the node.
    pub node: NodeName,
    /// Address of the node.
    pub ip: IpAddr,
    /// Roles, sorted.
    pub roles: Vec<Role>,
    /// Answer of the host.
    #[serde(flatten)]
    pub answer: Answer,
    /// Its etcd member; null for other nodes.
    pub etcd: Option<Member>,
    /// Changes of the running system that only a reboot puts into effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reboot_due: Vec<String>,
    /// The system that it runs on trial: it was booted once and not confirmed, and a reboot leaves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_trial: Option<StorePath>,
}

/// Answer of a host.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Answer {
    /// The host answered.
    Answers {
        /// Facts reported by the host.
        facts: Box<HostFacts>,
    },
    /// The host did not answer.
    Silent {
        /// Reason, with its causes.
        why: String,
        /// Hint for a fix.
        hint: Option<String>,
    },
}

/// Verdict on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No problem was found.
    Good,
    /// It is not what it should be, and nothing is broken.
    Careful,
    /// Something is broken.
    Bad,
}

/// Status of a member of etcd.
#[derive(Debug, Serialize)]
pub struct Member {
    /// True if it has no problems.
    pub healthy: bool,
    /// True if it is the leader.
    pub leader: bool,
    /// Descriptions of its problems.
    pub problems: Vec<String>,
    /// Version of etcd.
    pub version: Option<String>,
    /// Size of its database, in bytes.
    pub database_bytes: Option<u64>,
}

impl Answer {
    /// Returns the verdict on the host, and what to say of it in a few words.
    #[must_use]
    pub fn verdict(&self) -> (Verdict, String) {
        let facts = match self {
            Self::Silent { .. } => return (Verdict::Bad, "no answer".to_owned()),
            Self::Answers { facts } => facts,
        };
        let names = |units: &BTreeSet<String>| units.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        if facts.running.is_none() {
            (Verdict::Careful, "never deployed".to_owned())
        } else if !facts.failed.is_empty() {
            (Verdict::Bad, format!("failed: {}", names(&facts.failed)))
        } else if !facts.restarting.is_empty() {
            (Verdict::Bad, format!("restarting after failures: {}", names(&facts.restarting)))
        } else {
            (Verdict::Good, "up".to_owned())
        }
    }
}

impl Node {
    /// Returns what to say of the node in a few words: its host's verdict, and the problems of its member of etcd.
    #[must_use]
    pub fn words(&self) -> String {
        let problems = self.etcd.iter().flat_map(|member| &member.problems).map(|problem| format!("etcd: {problem}"));
        std::iter::once(self.answer.verdict().1).chain(problems).collect::<Vec<_>>().join("; ")
    }

    /// Returns true if no problem was found.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let answers = match &self.answer {
            Answer::Answers { facts } => facts.unwell().next().is_none() && facts.running.is_some(),
            Answer::Silent { .. } => false,
        };
        answers && self.etcd.as_ref().is_none_or(|member| member.healthy)
    }
}

/// Queries every node and etcd.
///
/// # Errors
/// The cluster's files are invalid. A node that does not answer is part of the status.
pub fn run(context: &Context, request: &Request) -> Result<Status, Failure> {
    let cluster = context.project.load()?.cluster;
    let patterns = (!request.targets.is_empty()).then_some(request.targets.as_slice());
    let nodes = connect::select(&cluster, patterns)?;
    let connector = connect::connector(context, &cluster, None)?;
    let asked = query::nodes(&nodes, &connector)?;
    let health = query::etcd(&cluster, &asked);
    let unmanaged = health.iter().flat_map(|health| &health.unmanaged);
    let unmanaged_etcd_members: Vec<String> = unmanaged.map(ToString::to_string).collect();
    let nodes: Vec<Node> =
        asked.into_iter().filter_map(|(name, asked)| node(&cluster, name, asked, health.as_ref())).collect();
    let etcd_alarm = health.as_ref().and_then(Health::quota_notice);
    let healthy = nodes.iter().all(Node::is_healthy) && unmanaged_etcd_members.is_empty() && etcd_alarm.is_none();
    Ok(Status { etcd_alarm, healthy, nodes, unmanaged_etcd_members })
}

fn node(cluster: &Cluster, name: NodeName, asked: Asked, health: Option<&Health>) -> Option<Node> {
    let node = cluster.nodes.get(&name)?;
    let etcd = cluster.voters().any(|voter| voter.name == name).then(|| member(&name, health));
    let answer = match asked {
        Ok((_, facts)) => Answer::Answers { facts: Box::new(facts) },
        Err(error) => Answer::Silent { why: failure::words(&name, &error), hint: error.hint() },
    };
    let (reboot_due, on_trial) = match &answer {
        Answer::Answers { facts } => (facts.reboot_due(), facts.on_trial().cloned()),
        Answer::Silent { .. } => (Vec::new(), None),
    };
    let roles = node.roles.iter().copied().collect();
    Some(Node { ip: node.ip, roles, node: name, answer, etcd, reboot_due, on_trial })
}

fn member(name: &NodeName, health: Option<&Health>) -> Member {
    match health.and_then(|health| health.members.get(name)) {
        Some(member) => Member {
            healthy: member.problems.is_empty(),
            leader: health.is_some_and(|health| health.leader.as_ref() == Some(name)),
            problems: member.problems.clone(),
            version: member.version.clone(),
            database_bytes: member.database_bytes,
        },
        None => {
            let problems = vec!["etcd gives no answer".to_owned()];
            Member { healthy: false, leader: false, problems, version: None, database_bytes: None }
        }
    }
}
