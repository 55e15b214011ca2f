//! States of the routing loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use machinist_mesh::{Service, ServiceName};

/// What the loop knows of etcd and of haproxy.
#[derive(Debug)]
pub enum State {
    /// etcd has not been read, and no earlier content was saved: haproxy is left as it is.
    Unknown,
    /// The routing is known. haproxy does not run, or runs a configuration of somebody else.
    Detached,
    /// haproxy runs our configuration, and follows each change.
    Following(Running),
}

/// The haproxy that runs our configuration.
#[derive(Debug)]
pub struct Running {
    pub pid: u32,
    /// Digest of everything that only a reload changes.
    pub structure: String,
    pub services: Arc<BTreeMap<ServiceName, Service>>,
    /// Removed servers whose connections are still open.
    pub leaving: BTreeSet<(ServiceName, String)>,
}

impl State {
    /// etcd has been read.
    pub fn known(&mut self) {
        if matches!(self, Self::Unknown) {
            *self = Self::Detached;
        }
    }

    /// Returns the haproxy that runs our configuration.
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::Following(running) => Some(running),
            Self::Unknown | Self::Detached => None,
        }
    }

    /// Returns the haproxy that runs our configuration, to change what is known of it.
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        match self {
            Self::Following(running) => Some(running),
            Self::Unknown | Self::Detached => None,
        }
    }
}

impl Running {
    /// A haproxy that was just found or reloaded: no server is known to be leaving.
    pub fn new(pid: u32, structure: String, services: BTreeMap<ServiceName, Service>) -> Self {
        Self { pid, structure, services: Arc::new(services), leaving: BTreeSet::new() }
    }
}
