//! Results of a deploy: each node's outcome, the systems that failed hosts run, etcd's health at the end. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_etcd::etcd::Health;
use machinist_model::{NodeName, quorum::quorum};
use serde::{Deserialize, Serialize};

use crate::{problem::Problem, waves::Wave};

/// Outcome of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It already runs and boots the system.
    Unchanged,
    /// It runs and boots the new system.
    Changed,
    /// It was not touched, because an earlier step failed.
    NotStarted {
        /// The failure. Empty in journals of older versions.
        #[serde(default)]
        why: String,
    },
    /// It was not touched, because a check refused.
    Refused {
        /// The reason for the refusal.
        why: String,
    },
    /// It failed.
    Failed {
        /// The error with its causes.
        why: String,
        /// The state of the host afterwards. Missing in journals of older versions.
        #[serde(default)]
        verdict: Verdict,
    },
    /// It was healthy under the new system but reverted, because another node of its wave failed.
    Reverted {
        /// The node that failed.
        why: String,
    },
}

/// State of a host after a failure there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs the previous system: nothing was activated.
    Untouched,
    /// It runs the previous system: the host reverted.
    Reverted,
    /// It runs the new system, which was confirmed; a later step failed.
    Confirmed,
    /// It did not come back from a reboot: into the new system, which was confirmed, or which was to be booted once.
    Away,
    /// It runs the new system, and the revert failed.
    Broken,
    /// It could not be queried.
    #[default]
    Unknown,
}

/// Result of a whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Each node's outcome.
    pub nodes: BTreeMap<NodeName, Outcome>,
    /// The waves as planned.
    pub waves: Vec<Wave>,
    /// Health of etcd at the end. None if no member could be queried.
    pub etcd: Option<EtcdEnd>,
    /// The nodes that were rebooted.
    pub rebooted: BTreeSet<NodeName>,
    /// Nodes with a pending reboot that the run has not performed, and the changes that it would put into effect.
    pub reboot_due: BTreeMap<NodeName, Vec<String>>,
    /// True if the operator interrupted the run.
    pub interrupted: bool,
    /// Problems found before anything was changed.
    pub preflight: Vec<Problem>,
    /// The reason why the run has lost its locks, if it has: it did not start any further actions after that.
    pub lost: Option<String>,
}

/// Health of etcd at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EtcdEnd {
    /// Number of voting members, including those that the configuration does not have.
    pub members: usize,
    /// Number of healthy members that the configuration has. `None` if no member responded.
    pub healthy: Option<usize>,
    /// Problems of the members and of the cluster, as text.
    pub problems: Vec<String>,
    /// Description of the quota alarm, if one is raised: the members are healthy, but reject writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    /// Members that the configuration has.
    pub known: BTreeSet<NodeName>,
}

impl EtcdEnd {
    /// Returns true if every member is healthy and in the configuration.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.healthy, Some(healthy) if healthy == self.members) && self.problems.is_empty()
    }

    /// Returns true if at least a quorum is healthy.
    #[must_use]
    pub const fn has_quorum(&self) -> bool {
        matches!(self.healthy, Some(healthy) if healthy >= quorum(self.members))
    }

    /// Creates a result for a cluster of which no member responded.
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
