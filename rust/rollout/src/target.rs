//! Nodes of a deploy, and the traits by which they are ordered. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use machinist_model::NodeName;
use machinist_nix::StorePath;

/// One node of a deploy.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node.
    pub node: NodeName,
    /// What it shall run.
    pub system: StorePath,
    /// The file names of the private keys that the system needs.
    pub keys: Vec<String>,
    /// Whether a first deploy turns what runs there into ours. Any other machine must have been installed.
    pub installs_itself: bool,
}

/// What decides how a node is treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The Nix system, such as `x86_64-linux`.
    pub platform: String,
    /// The zone: nodes of two zones never change in the same wave unless that is asked for.
    pub zone: Option<String>,
    /// Whether it takes traffic from outside.
    pub ingress: bool,
    /// Whether API servers run on it: one of these changes at a time.
    pub control_plane: bool,
    /// Whether it is the Router that leads to the API's virtual address.
    pub router: bool,
    /// Where other nodes reach it.
    pub address: Option<IpAddr>,
}

/// What the order of nodes depends on, of all nodes.
#[derive(Default)]
pub(crate) struct Layout {
    pub zones: BTreeMap<NodeName, String>,
    pub ingress: BTreeSet<NodeName>,
    pub control_planes: BTreeSet<NodeName>,
    pub routers: BTreeSet<NodeName>,
}

impl Layout {
    pub fn of(traits: &BTreeMap<NodeName, Traits>) -> Self {
        let zone = |(node, traits): (&NodeName, &Traits)| Some((node.clone(), traits.zone.clone()?));
        let those = |wanted: fn(&Traits) -> bool| {
            traits.iter().filter(|(_, traits)| wanted(traits)).map(|(node, _)| node.clone()).collect()
        };
        Self {
            zones: traits.iter().filter_map(zone).collect(),
            ingress: those(|traits| traits.ingress),
            control_planes: those(|traits| traits.control_plane),
            routers: those(|traits| traits.router),
        }
    }
}
