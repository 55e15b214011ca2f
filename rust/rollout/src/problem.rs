//! Problems of hosts, found before anything is changed anywhere. Pure.

use machinist_model::NodeName;
use serde::Serialize;

/// A problem of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The host's node.
    pub node: NodeName,
    /// Kind of the problem.
    pub kind: ProblemKind,
    /// True if it prevents the run from starting.
    pub refuses: bool,
    /// Description.
    pub text: String,
    /// A remedy, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The processor differs from the platform in machines.nix.
    Architecture,
    /// The clock is off.
    Clock,
    /// The store, /boot, /var or /run has too little room.
    Space,
    /// Another run is changing the host.
    Lock,
    /// The host runs or boots a system that no deploy put there.
    Drift,
    /// Only a boot can bring the system, and the host is not to be rebooted, or cannot boot a system once.
    Reboot,
    /// Versions of Kubernetes or etcd would run beside each other, or follow each other, that must not.
    Skew,
}
