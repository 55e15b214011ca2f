//! Nodes as seen by a rollout: voters, targets and traits.

use std::{collections::BTreeMap, net::IpAddr};

use machinist_model::{Cluster, Node, NodeName, Provider, Role};
use machinist_nix::StorePath;
use machinist_rollout::deploy::{Target, Traits};

use crate::{certs, failure::Failure, project::Project};

/// Returns the targets of a deploy: the nodes' systems and the private keys that these need.
///
/// # Errors
/// The certificates cannot be read.
pub fn targets(
    project: &Project,
    cluster: &Cluster,
    systems: &BTreeMap<NodeName, StorePath>,
) -> Result<Vec<Target>, Failure> {
    let keys = certs::key_files(&certs::inventory(&project.directory)?, cluster);
    let target = |(node, system): (&NodeName, &StorePath)| {
        let keys = keys.get(node).cloned().unwrap_or_default();
        let provider = cluster.nodes.get(node).map(|node| node.provider);
        // A sandbox machine runs Debian until its first deploy; any other machine gets NixOS by `install`.
        let installs_itself = provider == Some(Provider::Sandbox);
        Target { node: node.clone(), system: system.clone(), keys, installs_itself }
    };
    Ok(systems.iter().map(target).collect())
}

/// Returns the members in machines.nix, with their addresses.
#[must_use]
pub fn voters(cluster: &Cluster) -> BTreeMap<NodeName, IpAddr> {
    cluster.voters().map(|node| (node.name.clone(), node.ip)).collect()
}

/// Returns the properties of the node that affect its rollout.
#[must_use]
pub fn traits(cluster: &Cluster, node: &Node) -> Traits {
    Traits {
        platform: node.system.clone(),
        zone: node.labels.get("zone").cloned(),
        ingress: node.roles.contains(&Role::Ingress),
        control_plane: node.roles.contains(&Role::ControlPlane),
        router: cluster.is_router(node),
        address: Some(node.ip),
    }
}
