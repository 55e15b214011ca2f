//! Nodes of a deploy, and the traits that determine their order. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use machinist_model::NodeName;
use machinist_nix::StorePath;

/// One node of a deploy, with the system for it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node.
    pub node: NodeName,
    /// The system that it will run.
    pub system: StorePath,
    /// The file names of the private keys that the system needs.
    pub keys: Vec<String>,
    /// True if a first deploy can turn the machine's present system into ours. Otherwise it must be installed first.
    pub installs_itself: bool,
}

/// Traits of a node that determine its order and treatment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The Nix system, such as `x86_64-linux`.
    pub platform: String,
    /// The zone: nodes of two zones never change in the same wave unless that is requested.
    pub zone: Option<String>,
    /// True if it takes traffic from outside.
    pub ingress: bool,
    /// True if an API server runs on it: these change one at a time.
    pub control_plane: bool,
    /// True if it is the Router that leads to the API's virtual address.
    pub router: bool,
    /// The address at which other nodes reach it.
    pub address: Option<IpAddr>,
}

/// The parts of the nodes' traits that determine the order, over all nodes.
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
