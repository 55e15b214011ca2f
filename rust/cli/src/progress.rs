//! Shows what happens on many machines: bars on a terminal, plain lines in a pipe, JSON lines with `--json`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use machinist_model::NodeName;
use machinist_rollout::{Event, EventKind, Events};

use crate::ui::{Tone, Ui, indent};

/// Plain lines and JSON report a copy at most this often: a pipe is read by a person or kept in a log.
const COPY_REPORT: Duration = Duration::from_secs(2);

/// Returns where events go, for nodes of these names.
pub fn events(ui: Ui, nodes: &[NodeName]) -> Events {
    let width = nodes.iter().map(|node| node.as_str().len()).max().unwrap_or(0);
    if ui.json {
        let copies = Copies::default();
        return Events::new(move |event| {
            if copies.is_due(&event) {
                ui.result_json_line(&event);
            }
        });
    }
    if ui.is_terminal {
        let bars = Bars::new(ui, nodes, width);
        return Events::new(move |event| bars.show(&event));
    }
    let copies = Copies::default();
    Events::new(move |event| {
        if let Some(text) = copies.is_due(&event).then(|| words(ui, &event.kind)).flatten() {
            ui.story(&line(ui, event.node.as_ref(), width, &text));
        }
    })
}

/// When each node's copy was last reported.
#[derive(Default)]
struct Copies(Mutex<BTreeMap<NodeName, Instant>>);

impl Copies {
    fn is_due(&self, event: &Event) -> bool {
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
        // One wave needs no number, and its only node speaks for itself.
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

    fn show(&self, event: &Event) {
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
        // The terminal is gone: there is nobody to tell.
        let _gone = self.all.println(self.ui.told(line));
    }
}
