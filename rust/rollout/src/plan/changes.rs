//! Changes that a deploy would make, as data. Pure.

use std::collections::BTreeMap;

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_switch::{Action, ClosureDiff, Reboot, UnitChange};
use serde::Serialize;

use super::quorum::QuorumRisk;
use crate::{boot_once::Loader, problem::Problem, waves::Wave};

/// The changes that a deploy would make to a cluster.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The plan of each target.
    pub nodes: BTreeMap<NodeName, NodePlan>,
    /// The waves, in order.
    pub waves: Vec<Wave>,
    /// The reason why a safe order does not exist, if so.
    pub refusal: Option<String>,
    /// The risk to etcd's quorum. None without etcd.
    pub quorum: Option<QuorumRisk>,
    /// Violations of Kubernetes' version skew policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skew: Vec<Problem>,
}

/// The changes that a deploy would make to one node.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NodePlan {
    /// It runs and boots the system, has all its keys, and is not due for a reboot.
    Unchanged {
        /// The system that it runs.
        system: StorePath,
    },
    /// Its system, its keys or a due reboot require a deploy.
    Changes(Box<Changes>),
    /// It is unreachable, or its response is unusable.
    Silent {
        /// The error with its causes.
        why: String,
        /// A remedy, if there is one.
        hint: Option<String>,
    },
    /// It responds, but a deploy would refuse its current state.
    NotReady {
        /// The error with its causes.
        why: String,
        /// A remedy, if there is one.
        hint: Option<String>,
    },
}

/// The differences between a node's running system and the new one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// The running system. None before the first deploy.
    pub running: Option<StorePath>,
    /// The system that boots.
    pub boots: Option<StorePath>,
    /// The new system, which will run and boot.
    pub system: StorePath,
    /// Number of paths in the new system's closure.
    pub paths: usize,
    /// Number of those paths that are missing on the host.
    pub paths_to_send: usize,
    /// Size of the missing paths in bytes.
    pub bytes_to_send: u64,
    /// Free bytes on the file system of the host's store, if the missing paths do not fit there.
    pub too_little_room: Option<u64>,
    /// The boot loader's mount, if the kernel and initrd do not fit there.
    pub full_boot: Option<FullBoot>,
    /// File names of the private keys that are missing on the host.
    pub keys: Vec<String>,
    /// Differences between the closures. None before the first deploy, when everything is new.
    pub closure: Option<ClosureDiff>,
    /// Effects on units, sorted by action and name.
    pub units: Vec<UnitChange>,
    /// True if systemd re-executes itself. Units keep running meanwhile.
    pub systemd_reexec: bool,
    /// Changes that take effect only after a reboot.
    pub reboot: Option<Reboot>,
    /// True if the node is rebooted after the change, or to bring it.
    pub reboots: bool,
    /// Set if the system is booted once, instead of activated: only a boot can bring it, or it has another kernel and a
    /// reboot is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<PlannedBoot>,
    /// True if the host holds the API's virtual address. Missing in plans of older versions.
    #[serde(default)]
    pub virtual_address: bool,
    /// Output of `switch-to-configuration dry-activate`, if the host has the new system already.
    pub dry_run: Option<String>,
}

/// A system to which the host is not switched: it boots it once, and makes it the default when it was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedBoot {
    /// The reasons, such as `dbus-implementation: dbus -> broker`.
    pub why: Vec<String>,
    /// True if only a boot can bring the system. False if it could be activated without its kernel.
    pub required: bool,
    /// Time in seconds from its boot after which the machine leaves it by itself, unless it was confirmed: that of
    /// `machinist.boot.fallback`. None if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_after: Option<u64>,
    /// The host's boot loader.
    pub loader: Loader,
    /// The reason why a deploy with these options refuses it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// A remedy for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A boot loader's mount without space for another kernel; a deploy refuses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FullBoot {
    /// The mount, such as `/boot` or `/efi`.
    pub at: String,
    /// Free bytes there.
    pub free: u64,
    /// Size of the kernel and initrd in bytes.
    pub needed: u64,
}

impl Plan {
    /// Returns true if a deploy would change anything.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.nodes.values().any(|node| matches!(node, NodePlan::Changes(_)))
    }

    /// Returns true if a host could not be surveyed.
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

    /// Returns true if the unit stops, starts or restarts.
    #[must_use]
    pub fn disturbs(&self, unit: &str) -> bool {
        let disturbing = |action| matches!(action, Action::Stop | Action::Restart | Action::Start);
        self.units.iter().any(|change| change.unit == unit && disturbing(change.action))
    }
}
