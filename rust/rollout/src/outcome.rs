//! Results of a deploy: each node's outcome, what failed hosts run, etcd at the end. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_etcd::etcd::Health;
use machinist_model::{NodeName, quorum::quorum};
use serde::{Deserialize, Serialize};

use crate::{problem::Problem, waves::Wave};

/// What became of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It runs and boots the system already.
    Unchanged,
    /// It runs and boots the system now.
    Changed,
    /// It was not touched, because something before it failed.
    NotStarted {
        /// What. Empty in journals from before it was told.
        #[serde(default)]
        why: String,
    },
    /// It was not touched, because a check said no.
    Refused {
        /// Why.
        why: String,
    },
    /// It failed.
    Failed {
        /// Why.
        why: String,
        /// What the host runs now. Journals from before there was one do not say.
        #[serde(default)]
        verdict: Verdict,
    },
    /// It ran the new system well and went back to the one before, because another node of its wave failed.
    Reverted {
        /// Which one.
        why: String,
    },
}

/// What a host runs after something failed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What it ran before: nothing was activated.
    Untouched,
    /// What it ran before: the host went back.
    Reverted,
    /// The new system, which was confirmed; what was to follow failed.
    Confirmed,
    /// Nothing yet: it was rebooted into the new system, which was confirmed, and is not back.
    Away,
    /// The new system, and going back failed.
    Broken,
    /// That could not be asked.
    #[default]
    Unknown,
}

/// What became of all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Each node's outcome.
    pub nodes: BTreeMap<NodeName, Outcome>,
    /// The waves as planned.
    pub waves: Vec<Wave>,
    /// How etcd is at the end. None if nobody was there to ask.
    pub etcd: Option<EtcdEnd>,
    /// The nodes that were rebooted.
    pub rebooted: BTreeSet<NodeName>,
    /// The nodes that need a reboot which the run has not given them, and what it would bring.
    pub reboot_due: BTreeMap<NodeName, Vec<String>>,
    /// Whether the person stopped it.
    pub interrupted: bool,
    /// What was wrong before anything was changed.
    pub preflight: Vec<Problem>,
    /// Why the run has lost its locks, if it has: what it had not begun then, it has not done.
    pub lost: Option<String>,
}

/// How etcd is at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EtcdEnd {
    /// How many members vote, those that the configuration does not know too.
    pub members: usize,
    /// How many of those that it knows are healthy. `None` if no member gave an answer.
    pub healthy: Option<usize>,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// The quota alarm in words, if one is raised: the members are healthy, and writes are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// Those of the members that the configuration names.
    pub known: BTreeSet<NodeName>,
}

impl EtcdEnd {
    /// Whether every member is healthy, and none is unknown.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.healthy, Some(healthy) if healthy == self.members) && self.problems.is_empty()
    }

    /// Whether at least a quorum is healthy.
    #[must_use]
    pub const fn has_quorum(&self) -> bool {
        matches!(self.healthy, Some(healthy) if healthy >= quorum(self.members))
    }

    /// No member gave an answer.
    pub(crate) fn unknown(members: usize, why: String) -> Self {
        Self { members, healthy: None, problems: vec![why], alarm: None, known: BTreeSet::new() }
    }
}

impl From<&Health> for EtcdEnd {
    fn from(health: &Health) -> Self {
        let broken = health.broken().map(|(node, why)| format!("{node} {why}"));
        let unknown = health.unmanaged.iter().map(|member| format!("machines.nix does not know the member {member}"));
        let members = health.members.len() + health.unmanaged.len();
        let known = health.members.iter().filter(|(_, member)| member.id.is_some()).map(|(node, _)| node.clone());
        Self {
            members,
            healthy: Some(health.healthy()),
            problems: broken.chain(unknown).collect(),
            alarm: health.quota_notice(),
            known: known.collect(),
        }
    }
}
