//! What is said while a sandbox works.

use machinist_sandbox::Event;

use crate::ui::{Tone, Ui};

/// Says what happens to machines.
pub fn tell(ui: Ui, event: &Event) {
    if ui.json {
        return;
    }
    let name = |machine: &str| ui.paint(Tone::Strong, machine);
    let text = match event {
        Event::WaitingForLock { path } => {
            format!("another machinist works on this sandbox; waiting ({})", path.display())
        }
        Event::MakingRoot { path } => format!("making the machines' Debian root, once: {}", path.display()),
        Event::RootMade { took } => format!("the Debian root is made ({:.0} s)", took.as_secs_f64()),
        Event::Starting { machine } => format!("{} starting", name(machine)),
        Event::Restarting { machine, reason } => format!("{} is started anew: {reason}", name(machine)),
        Event::Ready { machine, took } => format!("{} answers ({:.1} s)", name(machine), took.as_secs_f64()),
        Event::Unchanged { machine } => format!("{} runs already", name(machine)),
        Event::Removed { machine } => format!("{} removed", name(machine)),
    };
    ui.story(&text);
}
