//! What happens during a deploy, as data for whoever shows it.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use serde::Serialize;

use crate::waves::Wave;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The node it is about, or none for the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A wave begins.
    Wave {
        /// Which one, from 1.
        number: usize,
        /// Of so many.
        of: usize,
        /// Who changes now, and why together.
        wave: Wave,
    },
    /// A step begins or goes on.
    Step {
        /// The step in words, such as `copying 12 paths`.
        text: String,
    },
    /// Bytes of a copy have gone out.
    Copied {
        /// So many.
        bytes: u64,
        /// Of so many.
        total: u64,
    },
    /// The node has all paths that it lacked.
    Arrived {
        /// So many bytes came from the operator's computer.
        operator: u64,
        /// So many from other nodes.
        peers: BTreeMap<NodeName, u64>,
    },
    /// The node's part is over and well.
    Done {
        /// What was achieved.
        text: String,
    },
    /// The node's part is over and went wrong.
    Failed {
        /// What went wrong, with its causes.
        text: String,
        /// What to do about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// Something worth knowing that changes nothing.
    Note {
        /// What.
        text: String,
    },
}

/// Where events go. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Sends events to a function.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Sends an event about a node.
    pub fn node(&self, node: &NodeName, kind: EventKind) {
        (self.0)(Event { node: Some(node.clone()), kind });
    }

    /// Sends an event about the whole run.
    pub fn run(&self, kind: EventKind) {
        (self.0)(Event { node: None, kind });
    }

    /// Says which step a node is in.
    pub fn step(&self, node: &NodeName, text: impl Into<String>) {
        self.node(node, EventKind::Step { text: text.into() });
    }
}
