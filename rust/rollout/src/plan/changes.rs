//! The changes that a deploy would make, as data. Pure.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_switch::{Action, ClosureDiff, Reboot, UnitChange};
use serde::Serialize;

use super::quorum::QuorumRisk;
use crate::{problem::Problem, waves::Wave};

/// What a deploy would change.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Each target.
    pub nodes: BTreeMap<NodeName, NodePlan>,
    /// The waves, in their order.
    pub waves: Vec<Wave>,
    /// Why there is no safe order, if there is none.
    pub refusal: Option<String>,
    /// What it means for etcd. None without etcd.
    pub quorum: Option<QuorumRisk>,
    /// What Kubernetes' version skew policy says against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skew: Vec<Problem>,
}

/// What a deploy would do to one node.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NodePlan {
    /// Nothing.
    Unchanged {
        /// The system that it runs.
        system: StorePath,
    },
    /// Something.
    Changes(Box<Changes>),
    /// It could not be asked.
    Silent {
        /// Why.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It answers, and a deploy would refuse it as it is.
    NotReady {
        /// Why.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What changes on one node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The system that runs. None before the first deploy.
    pub running: Option<StorePath>,
    /// The system that boots.
    pub boots: Option<StorePath>,
    /// The system that will run and boot.
    pub system: StorePath,
    /// How many paths the new system's closure has.
    pub paths: usize,
    /// How many of them the host lacks.
    pub paths_to_send: usize,
    /// Their size in bytes.
    pub bytes_to_send: u64,
    /// Free bytes where the host's store is, if that is too little for them.
    pub too_little_room: Option<u64>,
    /// The boot loader's mount, if that has too little room for the kernel and initrd.
    pub full_boot: Option<FullBoot>,
    /// File names of the private keys that the host lacks.
    pub keys: Vec<String>,
    /// What is in both systems. None before the first deploy: everything is new then.
    pub closure: Option<ClosureDiff>,
    /// Units.
    pub units: Vec<UnitChange>,
    /// Whether systemd itself is executed again. Units run on meanwhile.
    pub systemd_reexec: bool,
    /// What only a reboot brings into effect.
    pub reboot: Option<Reboot>,
    /// Whether the node is rebooted after the change.
    pub reboots: bool,
    /// Whether the API's virtual address is on the host. Plans from before this was asked do not say.
    #[serde(default)]
    pub virtual_address: bool,
    /// What `switch-to-configuration dry-activate` says, where the host has the new system already.
    pub dry_run: Option<String>,
}

/// A boot loader's mount without room for another kernel: a deploy refuses that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FullBoot {
    /// The mount, such as `/boot` or `/efi`.
    pub at: String,
    /// Bytes that are free there.
    pub free: u64,
    /// Bytes that the kernel and initrd need.
    pub needed: u64,
}

impl Plan {
    /// Whether a deploy would do something.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, NodePlan::Changes(_)))
    }

    /// Whether a host could not be asked.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, NodePlan::Silent { .. } | NodePlan::NotReady { .. }))
    }
}

impl Changes {
    /// Returns the units with this action, sorted by name.
    pub fn units_that(&self, action: Action) -> impl Iterator<Item = &UnitChange> {
        self.units.iter().filter(move |change| change.action == action)
    }

    /// Whether the unit stops, starts or restarts.
    #[must_use]
    pub fn disturbs(&self, unit: &str) -> bool {
        let disturbing = |action| matches!(action, Action::Stop | Action::Restart | Action::Start);
        self.units.iter().any(|change| change.unit == unit && disturbing(change.action))
    }
}
