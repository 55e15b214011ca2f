//! The two ways in which a cluster runs etcd, and what each means for a deploy. Pure.

use machinist_etcd::etcd::Health;
use machinist_model::NodeName;

use crate::HostFacts;

/// Where the cluster's etcd runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Datastore {
    /// A service of its own on each member, with members that the configuration names.
    #[default]
    Etcd,
    /// Inside of k3s' servers, which join by themselves, one by one.
    K3s {
        /// The server that founds the cluster.
        founder: NodeName,
    },
}

impl Datastore {
    /// Returns where etcd runs in a cluster with this founder. Only a cluster of k3s has one.
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

    /// Returns the health without what this datastore does not expect: a server that k3s does not know yet is no broken member.
    #[must_use]
    pub fn expected(&self, health: Health) -> Health {
        match self {
            Self::Etcd => health,
            Self::K3s { .. } => health.without_absent(),
        }
    }

    /// Returns how many members vote. The configuration names etcd's; k3s' servers are those that joined.
    #[must_use]
    pub fn voters(&self, configured: usize, health: &Health) -> usize {
        match self {
            Self::Etcd => configured,
            Self::K3s { .. } => health.members.len() + health.unmanaged.len(),
        }
    }

    /// Whether the host is a server of k3s without data, which joins the cluster by itself when it starts.
    #[must_use]
    pub const fn joins(&self, facts: &HostFacts) -> bool {
        matches!(self, Self::K3s { .. }) && !facts.etcd_data
    }

    /// Says what to do about a member of the running cluster whose data is gone.
    #[must_use]
    pub fn data_is_gone(&self, node: &NodeName) -> String {
        match self {
            Self::Etcd => format!(
                "{node} is a member of the running etcd cluster, but its data is gone: started with an empty disk it would \
                 crash. Let it join anew: `machinist node replace {node}`"
            ),
            Self::K3s { .. } => format!(
                "{node} is a server of the running k3s cluster, but its data is gone: k3s lets it in again only after its old \
                 self was taken out. At another server: `k3s kubectl delete node {node}`; then deploy it again"
            ),
        }
    }

    /// Returns the server that founds the cluster, where one does.
    #[must_use]
    pub const fn founder(&self) -> Option<&NodeName> {
        match self {
            Self::Etcd => None,
            Self::K3s { founder } => Some(founder),
        }
    }
}
