//! Roles of nodes.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The purpose of a node. A node may have several roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Stores the artefacts that other nodes fetch.
    Cache,
    /// Runs the API server, controller manager and scheduler.
    ControlPlane,
    /// Is a voting member of etcd.
    Etcd,
    /// Accepts traffic from outside.
    Ingress,
    /// Stores container images.
    Registry,
    /// Runs stateful services, such as databases.
    Service,
    /// Runs applications.
    Worker,
}

impl Role {
    /// All roles, in alphabetical order of their names.
    pub const ALL: [Self; 7] =
        [Self::Cache, Self::ControlPlane, Self::Etcd, Self::Ingress, Self::Registry, Self::Service, Self::Worker];

    /// Returns the role's name as machines.nix spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::ControlPlane => "control-plane",
            Self::Etcd => "etcd",
            Self::Ingress => "ingress",
            Self::Registry => "registry",
            Self::Service => "service",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}
