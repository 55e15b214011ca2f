//! What happens during a deploy, as data for whoever shows it.

use std::{collections::BTreeMap, sync::Arc};

use machinist_model::NodeName;
use machinist_text::{bounded, visible};
use serde::Serialize;

use crate::waves::Wave;

/// The longest text of an event, in bytes. What a host prints has no end of its own.
const LONGEST: usize = 16 << 10;

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

impl EventKind {
    /// Hosts' words are in most texts: no terminal and no log acts on one.
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
        (self.0)(Event { node: Some(node.clone()), kind: kind.cleaned() });
    }

    /// Sends an event about the whole run.
    pub fn run(&self, kind: EventKind) {
        (self.0)(Event { node: None, kind: kind.cleaned() });
    }

    /// Says which step a node is in.
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
