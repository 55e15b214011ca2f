//! Progress on many machines: bars on a terminal, plain lines in a pipe, JSON lines with `--json`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use machinist_model::NodeName;
use machinist_operations::event::{Event, Events};
use machinist_rollout::{self as rollout, EventKind, Interrupt};

use crate::{
    objects,
    report::{self, Again},
    signals,
    ui::{Tone, Ui, indent},
};

/// Minimum interval between reports of a copy in plain lines and JSON: a pipe is read by a person or kept in a log.
const COPY_REPORT: Duration = Duration::from_secs(2);

/// Returns the receiver of a command's events. `again` is the command that completes the rest after a rollout.
pub fn events(ui: Ui, interrupt: Interrupt, again: Again) -> Events {
    let view = View { ui, interrupt, again, machines: Mutex::default(), listening: Once::new() };
    Events::new(move |event| view.show(event))
}

/// Display of an operation's events.
struct View {
    ui: Ui,
    interrupt: Interrupt,
    again: Again,
    machines: Mutex<Machines>,
    listening: Once,
}

/// Display of progress on machines.
#[derive(Default)]
struct Machines {
    width: usize,
    copies: Copies,
    bars: Option<Bars>,
}

impl View {
    fn show(&self, event: Event) {
        let ui = self.ui;
        match event {
            Event::Remark { text } => ui.story(&text),
            Event::Warning { text } => ui.warn(&text),
            Event::Problem { failure } => ui.failure(&failure),
            Event::Detail { text } if ui.verbose => ui.story(&text),
            Event::Command { what, line } => ui.story(&format!("{} {line}", ui.paint(Tone::Strong, &what))),
            Event::SecretsWritten { directory } => {
                signals::remove_when_interrupted(directory, self.interrupt.clone());
            }
            Event::RolloutStarted { nodes, .. } => self.start(&nodes),
            Event::RolloutEnded => self.machines().bars = None,
            Event::Objects { objects, took } => objects::after_deploy(&objects, took, ui),
            Event::Report { report, took } => report::tell(&report, &self.again, took, ui),
            Event::Rollout(event) => self.machines().show(&event, ui),
            Event::Note { .. } if ui.json => ui.result_json_line(&event),
            Event::Note { node: Some(node), text } => ui.story(&format!("{node} {text}")),
            Event::Note { node: None, text } => ui.story(&text),
            _ if ui.json => {}
            Event::Progress { text } | Event::Sandbox { machine: None, text } => ui.story(&text),
            Event::Sandbox { machine: Some(machine), text } => {
                ui.story(&format!("{} {text}", ui.paint(Tone::Strong, &machine)));
            }
            Event::Diagnostic { diagnostic } => ui.diagnostic(&*diagnostic),
            Event::SystemsBuilt { built, unchanged, took } => ui.story(&said(built, unchanged, took.as_secs_f64())),
            Event::BuildOutput { builder, text } if ui.verbose => ui.story(&format!("{builder}: {text}")),
            Event::BuildOutput { .. } | Event::Detail { .. } | Event::Reaching { .. } => {}
            // Commands that have such lines show them themselves.
            Event::Output { .. } | Event::Journal { .. } => {}
        }
    }

    /// Starts the display of a rollout. From here on an interrupt stops the operation in order.
    fn start(&self, nodes: &[NodeName]) {
        self.listening.call_once(|| signals::stop_on(self.interrupt.clone(), self.ui));
        let mut machines = self.machines();
        machines.width = nodes.iter().map(|node| node.as_str().len()).max().unwrap_or(0);
        let with_bars = self.ui.is_terminal && !self.ui.json;
        machines.bars = with_bars.then(|| Bars::new(self.ui, nodes, machines.width));
    }

    fn machines(&self) -> MutexGuard<'_, Machines> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machines {
    fn show(&self, event: &rollout::Event, ui: Ui) {
        if let Some(bars) = &self.bars {
            return bars.show(event);
        }
        if !self.copies.is_due(event) {
            return;
        }
        if ui.json {
            ui.result_json_line(event);
        } else if let Some(text) = words(ui, &event.kind) {
            ui.story(&line(ui, event.node.as_ref(), self.width, &text));
        }
    }
}

fn said(built: usize, known: usize, seconds: f64) -> String {
    let systems = |count: usize| if count == 1 { "1 system".to_owned() } else { format!("{count} systems") };
    match (built, known) {
        (built, 0) => format!("built {} in {seconds:.1} s", systems(built)),
        (0, known) => format!("{} as before, not evaluated", systems(known)),
        (built, known) => format!("built {} in {seconds:.1} s, {known} as before, not evaluated", systems(built)),
    }
}

/// Time of each node's last report of a copy.
#[derive(Default)]
struct Copies(Mutex<BTreeMap<NodeName, Instant>>);

impl Copies {
    fn is_due(&self, event: &rollout::Event) -> bool {
        let (EventKind::Copied { .. }, Some(node)) = (&event.kind, &event.node) else { return true };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match last.get(node) {
            Some(then) if now.duration_since(*then) < COPY_REPORT => false,
            None => {
                last.insert(node.clone(), now);
                false
            }
            Some(_) => {
                last.insert(node.clone(), now);
                true
            }
        }
    }
}

fn words(ui: Ui, kind: &EventKind) -> Option<String> {
    Some(match kind {
        // A single wave needs no number, and its only node needs no summary.
        EventKind::Wave { of: 1, .. } => return None,
        EventKind::Wave { number, of, wave } => {
            let nodes: Vec<&str> = wave.nodes.iter().map(NodeName::as_str).collect();
            let text = format!("wave {number} of {of}: {}{}", nodes.join(", "), wave.kind.words());
            ui.paint(Tone::Strong, &text)
        }
        EventKind::Step { text } => text.clone(),
        EventKind::Copied { bytes, total } if bytes >= total => "copied; waiting for its turn".to_owned(),
        EventKind::Copied { bytes, total } => format!("copied {} of {}", HumanBytes(*bytes), HumanBytes(*total)),
        EventKind::Arrived { peers, .. } if peers.is_empty() => return None,
        EventKind::Arrived { operator, peers } => {
            let from = |(node, bytes): (&NodeName, &u64)| format!("{} from {node}", HumanBytes(*bytes));
            let peers: Vec<String> = peers.iter().map(from).collect();
            format!("copied {} from here, {}", HumanBytes(*operator), peers.join(", "))
        }
        EventKind::Done { text } => ui.paint(Tone::Good, text),
        EventKind::Note { text } => text.clone(),
        EventKind::Failed { text, hint } => {
            let hint = hint.as_ref().map(|hint| format!("\n{} {hint}", ui.paint(Tone::Strong, "hint:")));
            format!("{} {text}{}", ui.paint(Tone::Bad, "failed:"), hint.unwrap_or_default())
        }
    })
}

fn line(ui: Ui, node: Option<&NodeName>, width: usize, text: &str) -> String {
    match node {
        Some(node) => format!("{} {}", ui.paint(Tone::Strong, &format!("{node:<width$}")), indent(text, "    ")),
        None => text.to_owned(),
    }
}

struct Bars {
    ui: Ui,
    width: usize,
    all: MultiProgress,
    bars: BTreeMap<NodeName, ProgressBar>,
}

impl Bars {
    fn new(ui: Ui, nodes: &[NodeName], width: usize) -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix} {spinner} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = |node: &NodeName| {
            let bar = all.add(ProgressBar::new_spinner().with_style(style.clone()));
            bar.set_prefix(ui.told(&ui.paint(Tone::Strong, &format!("{node:<width$}"))));
            bar.enable_steady_tick(Duration::from_millis(120));
            (node.clone(), bar)
        };
        let bars = nodes.iter().map(bar).collect();
        Self { ui, width, all, bars }
    }

    fn show(&self, event: &rollout::Event) {
        let Some(text) = words(self.ui, &event.kind) else { return };
        let bar = event.node.as_ref().and_then(|node| self.bars.get(node));
        match (&event.kind, bar) {
            (EventKind::Done { .. } | EventKind::Failed { .. }, Some(bar)) => {
                let line = line(self.ui, event.node.as_ref(), self.width, &text);
                bar.finish_and_clear();
                self.print(&line);
            }
            (EventKind::Step { .. } | EventKind::Copied { .. }, Some(bar)) => bar.set_message(self.ui.told(&text)),
            _ => self.print(&line(self.ui, event.node.as_ref(), self.width, &text)),
        }
    }

    fn print(&self, line: &str) {
        // The terminal is gone: no reader is left.
        let _gone = self.all.println(self.ui.told(line));
    }
}
