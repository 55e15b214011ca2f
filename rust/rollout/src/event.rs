//! Events of a deploy, as data for its presentation.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use machinist_text::{bounded, visible};
use serde::Serialize;

use crate::waves::Wave;

/// Maximum length of an event's text, in bytes. A host's output may be endless.
const LONGEST: usize = 16 << 10;

/// An event of a deploy.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The node that it concerns, or none for the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The event itself.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kinds of events.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A wave begins.
    Wave {
        /// Number of the wave, from 1.
        number: usize,
        /// Total number of waves.
        of: usize,
        /// The nodes that change now, and why together.
        wave: Wave,
    },
    /// A step begins or makes progress.
    Step {
        /// Description of the step, such as `copying 12 paths`.
        text: String,
    },
    /// Progress of a copy.
    Copied {
        /// Bytes sent so far.
        bytes: u64,
        /// Total bytes to send.
        total: u64,
    },
    /// The node has received all missing paths.
    Arrived {
        /// Bytes that came from the operator's computer.
        operator: u64,
        /// Bytes that came from other nodes, by node.
        peers: BTreeMap<NodeName, u64>,
    },
    /// The node has finished successfully.
    Done {
        /// The result.
        text: String,
    },
    /// The node has failed.
    Failed {
        /// The error, with its causes.
        text: String,
        /// A remedy, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// Information that does not change anything.
    Note {
        /// The information.
        text: String,
    },
}

impl EventKind {
    /// Most texts include output of hosts: control characters must not reach a terminal or a log.
    fn cleaned(self) -> Self {
        let clean = |text: String| bounded(&visible(&text), LONGEST).into_owned();
        match self {
            Self::Step { text } => Self::Step { text: clean(text) },
            Self::Done { text } => Self::Done { text: clean(text) },
            Self::Note { text } => Self::Note { text: clean(text) },
            Self::Failed { text, hint } => Self::Failed { text: clean(text), hint: hint.map(clean) },
            other @ (Self::Wave { .. } | Self::Copied { .. } | Self::Arrived { .. }) => other,
        }
    }
}

/// Sink of events. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Creates a sink that passes events to a function.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Sends an event about a node.
    pub fn node(&self, node: &NodeName, kind: EventKind) {
        (self.0)(Event { node: Some(node.clone()), kind: kind.cleaned() });
    }

    /// Sends an event about the whole run.
    pub fn run(&self, kind: EventKind) {
        (self.0)(Event { node: None, kind: kind.cleaned() });
    }

    /// Reports the step that a node is in.
    pub fn step(&self, node: &NodeName, text: impl Into<String>) {
        self.node(node, EventKind::Step { text: text.into() });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use machinist_model::NodeName;

    use super::{EventKind, Events, LONGEST};

    #[test]
    fn what_a_host_says_is_cleaned_before_anything_shows_or_keeps_it() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let events = Events::new(move |event| sink.lock().unwrap().push(serde_json::to_string(&event).unwrap()));
        let node = NodeName::parse("c1").unwrap();
        let failed = EventKind::Failed { text: "\u{9b}2J\u{202e}".to_owned(), hint: Some("\u{1b}[1A".to_owned()) };
        events.node(&node, failed);
        events.run(EventKind::Note { text: "x".repeat(LONGEST + 1) });
        let heard = heard.lock().unwrap();
        assert!(!heard[0].contains(machinist_text::is_active), "{}", heard[0]);
        assert!(heard[0].contains(r"\\u{9b}2J") && heard[0].contains(r"\\u{1b}[1A"), "{}", heard[0]);
        assert!(heard[1].len() < LONGEST + 100);
    }
}
