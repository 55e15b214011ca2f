//! Events of an operation: the complete input of a progress view, as data.

use std::{path::PathBuf, sync::Arc, time::Duration};

use machinist_kubernetes::apply;
use machinist_model::{Diagnostic, NodeName};
use machinist_remote::Stream;
use machinist_rollout::deploy::Report;
use machinist_text::{bounded, visible};
use serde::{Serialize, Serializer};

use crate::{failure::Failure, kubernetes::outcome::json, reach::journal::Entry};

/// Maximum length of an event's text, in bytes.
const LONGEST: usize = 16 << 10;

/// Something that happened during an operation.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// Progress message, relevant only while the operation runs.
    Progress {
        /// One sentence.
        text: String,
    },
    /// Note that matters even if a program reads the result.
    Remark {
        /// One sentence.
        text: String,
    },
    /// Detail for diagnosing a problem.
    Detail {
        /// One sentence.
        text: String,
    },
    /// Warning about a risk that does not stop the operation.
    Warning {
        /// One sentence.
        text: String,
    },
    /// Warning about machines.nix, with its location.
    Diagnostic {
        /// Warning with its location.
        diagnostic: Box<Diagnostic>,
    },
    /// A note about one node, or about the cluster.
    Note {
        /// Name of the node; absent for a note about the cluster.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<NodeName>,
        /// One sentence.
        text: String,
    },
    /// Part of the operation failed, and the operation continues.
    Problem {
        /// Description of the failed part.
        failure: Failure,
    },
    /// Connections to these nodes are opened.
    Reaching {
        /// Names of the nodes.
        nodes: Vec<NodeName>,
    },
    /// Output of a command that the operator runs on a machine.
    Output {
        /// Name of the node.
        node: NodeName,
        /// `stdout` or `stderr`.
        stream: &'static str,
        /// One line.
        text: String,
    },
    /// Entry of a machine's journal.
    Journal {
        /// Name of the node.
        node: NodeName,
        /// The entry.
        entry: Box<Entry>,
    },
    /// Output of a remote builder.
    BuildOutput {
        /// Name of the building node.
        builder: NodeName,
        /// One line.
        text: String,
    },
    /// Start of a program.
    Command {
        /// Purpose of the program, such as `install`.
        what: String,
        /// Command line of the program.
        line: String,
    },
    /// Private keys in clear text are in a directory until the operation ends. A caller that is about to be killed must
    /// remove it.
    SecretsWritten {
        /// Path of the directory.
        directory: PathBuf,
    },
    /// Systems are built, or taken from an earlier build.
    SystemsBuilt {
        /// Number of systems that were evaluated and built.
        built: usize,
        /// Number of systems that were reused unchanged.
        unchanged: usize,
        /// Duration of evaluation and build.
        #[serde(serialize_with = "seconds")]
        took: Duration,
    },
    /// Deployment of systems to machines begins. From here on, an interrupt stops the operation in order.
    RolloutStarted {
        /// ID of the run.
        run: String,
        /// Nodes that may change.
        nodes: Vec<NodeName>,
    },
    /// Machines no longer change.
    RolloutEnded,
    /// Objects were applied to Kubernetes.
    Objects {
        /// Changes of the objects.
        #[serde(serialize_with = "applied")]
        objects: Arc<apply::Outcome>,
        /// Duration of the update.
        #[serde(skip)]
        took: Duration,
    },
    /// End of a rollout.
    Report {
        /// Outcome of each node.
        report: Box<Report>,
        /// Duration since the operation started.
        #[serde(skip)]
        took: Duration,
    },
    /// Message about the sandbox.
    Sandbox {
        /// Machine; absent for resources shared by all machines.
        #[serde(skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// Message text, which follows the machine's name.
        text: String,
    },
    /// Progress on machines.
    #[serde(untagged)]
    Rollout(machinist_rollout::Event),
}

impl Event {
    /// Returns the event of a command's line. The text is cleaned.
    pub(crate) fn output(node: &NodeName, stream: Stream, text: &str) -> Self {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        Self::Output { node: node.clone(), stream, text: visible(text).into_owned() }
    }
}

fn seconds<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64())
}

fn applied<S: Serializer>(outcome: &Arc<apply::Outcome>, serializer: S) -> Result<S::Ok, S::Error> {
    json(outcome).serialize(serializer)
}

/// Receiver of events. Cheap to clone; callable from any thread.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Creates a receiver from a function.
    pub fn new(receiver: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receiver))
    }

    /// Sends an event.
    pub fn send(&self, event: Event) {
        (self.0)(event);
    }

    /// Reports progress.
    pub fn progress(&self, text: impl Into<String>) {
        self.send(Event::Progress { text: text.into() });
    }

    /// Reports a note that matters even if a program reads the result.
    pub fn remark(&self, text: impl Into<String>) {
        self.send(Event::Remark { text: text.into() });
    }

    /// Reports a detail.
    pub fn detail(&self, text: impl Into<String>) {
        self.send(Event::Detail { text: text.into() });
    }

    /// Reports a warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Event::Warning { text: text.into() });
    }

    /// Reports a note about a node.
    pub fn note(&self, node: &NodeName, text: impl Into<String>) {
        self.send(Event::Note { node: Some(node.clone()), text: clean(text.into()) });
    }

    /// Reports a note about the cluster.
    pub fn note_all(&self, text: impl Into<String>) {
        self.send(Event::Note { node: None, text: clean(text.into()) });
    }

    /// Reports a part that failed, while the operation continues.
    pub fn problem(&self, failure: Failure) {
        self.send(Event::Problem { failure });
    }

    /// Reports a message about the sandbox.
    pub(crate) fn sandbox(&self, event: &machinist_sandbox::Event) {
        let (machine, text) = sandbox_words(event);
        self.send(Event::Sandbox { machine: machine.map(str::to_owned), text });
    }

    /// Returns a receiver for a rollout's events.
    pub(crate) fn of_rollout(&self) -> machinist_rollout::Events {
        let events = self.clone();
        machinist_rollout::Events::new(move |event| events.send(Event::Rollout(event)))
    }
}

/// Returns the machine that an event is about, and the text of the event.
fn sandbox_words(event: &machinist_sandbox::Event) -> (Option<&str>, String) {
    use machinist_sandbox::Event;
    match event {
        Event::WaitingForLock { path } => {
            (None, format!("another machinist works on this sandbox; waiting ({})", path.display()))
        }
        Event::MakingRoot { path } => (None, format!("making the machines' Debian root, once: {}", path.display())),
        Event::RootMade { took } => (None, format!("the Debian root is made ({:.0} s)", took.as_secs_f64())),
        Event::Starting { machine } => (Some(machine), "starting".to_owned()),
        Event::Restarting { machine, reason } => (Some(machine), format!("is started anew: {reason}")),
        Event::Ready { machine, took } => (Some(machine), format!("answers ({:.1} s)", took.as_secs_f64())),
        Event::Unchanged { machine } => (Some(machine), "runs already".to_owned()),
        Event::Removed { machine } => (Some(machine), "removed".to_owned()),
    }
}

/// Makes control characters visible: most texts contain output of hosts, and a terminal or a log might act on them.
fn clean(text: String) -> String {
    bounded(&visible(&text), LONGEST).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use expect_test::expect;
    use machinist_model::NodeName;
    use machinist_rollout::{EventKind, deploy::Report};

    use super::{Event, Events, LONGEST};
    use crate::failure::{Failure, Kind};

    /// Sends the events and returns them as JSON lines.
    fn lines(send: impl FnOnce(&Events)) -> String {
        let heard = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&heard);
        let events = Events::new(move |event: Event| {
            let mut heard = sink.lock().unwrap();
            heard.push_str(&serde_json::to_string(&event).unwrap());
            heard.push('\n');
        });
        send(&events);
        let heard = heard.lock().unwrap();
        heard.clone()
    }

    #[test]
    fn events_are_json_lines_with_their_kind() {
        let node = NodeName::parse("c1").unwrap();
        let heard = lines(|events| {
            events.note(&node, "waits for its lock");
            events.note_all("etcd is stopped");
            events.of_rollout().node(&node, EventKind::Done { text: "changed".to_owned() });
            events.of_rollout().run(EventKind::Note { text: "one host is slow".to_owned() });
            events.send(Event::SystemsBuilt { built: 1, unchanged: 2, took: Duration::from_millis(1500) });
            events.send(Event::RolloutStarted { run: "r1".to_owned(), nodes: vec![node.clone()] });
            events.send(Event::RolloutEnded);
            events.sandbox(&machinist_sandbox::Event::Removed { machine: "c1".to_owned() });
            events.problem(Failure::new(Kind::Failed, "no API server is ready").hint("wait"));
            events.send(Event::Report { report: Box::default(), took: Duration::ZERO });
        });
        let empty = serde_json::to_string(&Report::default()).unwrap();
        expect![[r#"
            {"event":"note","node":"c1","text":"waits for its lock"}
            {"event":"note","text":"etcd is stopped"}
            {"node":"c1","event":"done","text":"changed"}
            {"event":"note","text":"one host is slow"}
            {"event":"systems-built","built":1,"unchanged":2,"took":1.5}
            {"event":"rollout-started","run":"r1","nodes":["c1"]}
            {"event":"rollout-ended"}
            {"event":"sandbox","machine":"c1","text":"removed"}
            {"event":"problem","failure":{"error":"no API server is ready","causes":[],"hints":["wait"]}}
            {"event":"report","report":REPORT}
        "#]]
        .assert_eq(&heard.replace(&empty, "REPORT"));
    }

    #[test]
    fn what_a_host_says_is_cleaned_before_anyone_receives_it() {
        let node = NodeName::parse("c1").unwrap();
        let heard = lines(|events| {
            events.note(&node, "\u{1b}[2J\u{202e}");
            events.note_all("x".repeat(LONGEST + 1));
        });
        assert!(!heard.contains(machinist_text::is_active), "{heard:?}");
        assert!(heard.len() < LONGEST + 300, "{}", heard.len());
    }
}
