//! Problems of hosts, found before anything is changed anywhere. Pure.

use machinist_model::NodeName;
use serde::Serialize;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    pub node: NodeName,
    /// What kind.
    pub kind: ProblemKind,
    /// Whether the run must not begin.
    pub refuses: bool,
    /// What is wrong, in words.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The processor is another one than machines.nix says.
    Architecture,
    /// The clock is off.
    Clock,
    /// The store, /boot, /var or /run has too little room.
    Space,
    /// Someone else is changing the host.
    Lock,
    /// The host runs or boots what no deploy brought there.
    Drift,
    /// Versions of Kubernetes would run beside each other that must not.
    Skew,
}
