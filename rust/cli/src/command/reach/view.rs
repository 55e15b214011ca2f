//! Lines of machines, as they arrive.

use std::sync::{Mutex, PoisonError};

use machinist_model::NodeName;
use machinist_operations::{
    context::Context,
    event::{Event, Events},
    reach::{Missing, journal::Entry},
};

use crate::ui::{Tone, Ui};

/// Highest level of an entry that is shown as an error, as journalctl has it.
const ERROR: u8 = 3;
/// Level of a warning.
const WARNING: u8 = 4;

/// Returns the context with a view of the lines of machines: what a command prints goes to the same stream here.
pub fn with_lines(context: Context, ui: Ui) -> Context {
    let (others, width) = (context.events.clone(), Mutex::new(0));
    let events = Events::new(move |event| {
        let mut width = width.lock().unwrap_or_else(PoisonError::into_inner);
        match &event {
            Event::Reaching { nodes } => *width = longest(nodes),
            Event::Output { .. } | Event::Journal { .. } if ui.json => ui.result_json_line(&event),
            Event::Output { node, stream, text } => {
                let line = format!("{} | {text}", ui.paint(Tone::Strong, &format!("{node:<0$}", *width)));
                if *stream == "stdout" { ui.result(&line) } else { ui.story(&line) }
            }
            Event::Journal { node, entry } => ui.result(&entry_line(node, entry, *width, ui)),
            _ => others.send(event),
        }
    });
    Context { events, ..context }
}

fn longest(nodes: &[NodeName]) -> usize {
    nodes.iter().map(|node| node.as_str().len()).max().unwrap_or(0)
}

/// Returns an entry as one line, or with its other lines indented.
fn entry_line(node: &NodeName, entry: &Entry, width: usize, ui: Ui) -> String {
    let process = entry.process.map(|process| format!("[{process}]")).unwrap_or_default();
    let message = entry.message.replace('\n', "\n    ");
    let message = match entry.priority {
        Some(priority) if priority <= ERROR => ui.paint(Tone::Bad, &message),
        Some(WARNING) => ui.paint(Tone::Careful, &message),
        _ => message,
    };
    let name = ui.paint(Tone::Strong, &format!("{node:<width$}"));
    format!("{} {name} {}{process}: {message}", entry.time(), entry.program)
}

/// Prints the reason why a machine gave no result.
pub fn missing(node: &NodeName, missing: &Missing, ui: Ui) {
    let what = if missing.unreachable { "not reached:" } else { "failed:" };
    ui.story(&format!("{} {} {}", ui.paint(Tone::Strong, node.as_str()), ui.paint(Tone::Bad, what), missing.why));
    if let Some(hint) = &missing.hint {
        ui.story(&format!("  {} {hint}", ui.paint(Tone::Strong, "hint:")));
    }
}
