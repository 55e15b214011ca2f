//! The two ways in which a cluster can run etcd, and their effect on a deploy. Pure.

use machinist_etcd::etcd::Health;
use machinist_model::NodeName;

use crate::HostFacts;

/// Location of the cluster's etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Datastore {
    /// A separate service on each member; the configuration names the members.
    #[default]
    Etcd,
    /// Embedded in k3s servers, which join by themselves, one by one.
    K3s {
        /// The server that bootstraps the cluster.
        founder: NodeName,
    },
}

impl Datastore {
    /// Returns the datastore of a cluster with this founder. Only k3s clusters have one.
    #[must_use]
    pub fn of(founder: Option<NodeName>) -> Self {
        founder.map_or(Self::Etcd, |founder| Self::K3s { founder })
    }

    /// Returns the systemd unit that etcd runs in.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        match self {
            Self::Etcd => "etcd.service",
            Self::K3s { .. } => "k3s.service",
        }
    }

    /// Returns the health without the problems that this datastore permits: a server that k3s does not know yet is not
    /// a broken member.
    #[must_use]
    pub fn expected(&self, health: Health) -> Health {
        match self {
            Self::Etcd => health,
            Self::K3s { .. } => health.without_absent(),
        }
    }

    /// Returns the number of voters: the configured members of etcd, or the servers that joined k3s.
    #[must_use]
    pub fn voters(&self, configured: usize, health: &Health) -> usize {
        match self {
            Self::Etcd => configured,
            Self::K3s { .. } => health.members.len() + health.unmanaged.len(),
        }
    }

    /// Returns true if the host is a k3s server without data, which joins the cluster by itself when it starts.
    #[must_use]
    pub const fn joins(&self, facts: &HostFacts) -> bool {
        matches!(self, Self::K3s { .. }) && !facts.etcd_data
    }

    /// Returns the instructions for a member of the running cluster whose data is lost.
    #[must_use]
    pub fn data_is_gone(&self, node: &NodeName) -> String {
        match self {
            Self::Etcd => format!(
                "{node} is a member of the running etcd cluster, but its data is gone: it may not vote without what it \
                 has acknowledged. Let it join anew: `machinist node replace {node}`"
            ),
            Self::K3s { .. } => format!(
                "{node} is a server of the running k3s cluster, but its data is gone: k3s lets it in again only after its old \
                 self was taken out. At another server: `k3s kubectl delete node {node}`; then deploy it again"
            ),
        }
    }

    /// Returns the server that bootstraps the cluster, if there is one.
    #[must_use]
    pub const fn founder(&self) -> Option<&NodeName> {
        match self {
            Self::Etcd => None,
            Self::K3s { founder } => Some(founder),
        }
    }
}
