//! The files beside machines.nix that its checks depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// The files of a cluster's directory that checks of machines.nix depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// Names of the folders of `app_modules/`.
    pub apps: BTreeSet<String>,
    /// Names of the machines with NixOS modules in `nodes/`, whatever options these set.
    pub node_modules: BTreeSet<String>,
    /// Private addresses that providers gave to servers, by machine, from recorded state.
    pub addresses: BTreeMap<String, IpAddr>,
}
