//! Who runs this command, and what stops it.

use machinist_rollout::Interrupt;
use tokio::signal::unix::{SignalKind, signal};

use crate::ui::Ui;

/// Returns who runs this command: the person before `sudo`, and the computer.
pub fn who() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let person = variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}@{}", person.as_deref().unwrap_or("unknown"), host.trim())
}

/// What a person or the system ends a command with: Ctrl-C, a termination, a closed terminal.
const fn ending() -> [SignalKind; 3] {
    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
}

/// Waits for the first of them, and returns the exit status with which a shell reports it. To be called within a runtime.
pub async fn ended() -> i32 {
    let mut tasks = tokio::task::JoinSet::new();
    for kind in ending() {
        tasks.spawn(async move {
            match signal(kind) {
                Ok(mut signal) => drop(signal.recv().await),
                // It cannot be listened for: it ends the process by itself.
                Err(_) => std::future::pending().await,
            }
            128 + kind.as_raw_value()
        });
    }
    match tasks.join_next().await {
        Some(Ok(code)) => code,
        _ => std::future::pending().await,
    }
}

/// Stops the run at the first Ctrl-C, hang-up or termination, and the process at the second. To be called within the
/// runtime.
pub fn stop_on(interrupt: Interrupt, ui: Ui) {
    for mut signal in ending().into_iter().filter_map(|kind| signal(kind).ok()) {
        let interrupt = interrupt.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                if interrupt.is_set() {
                    ui.story("left at once: hosts in the middle go back by themselves when no confirmation comes");
                    std::process::exit(1);
                }
                interrupt.set();
                ui.story("stopping: hosts in the middle go back to the system before, the others are left as they are");
            }
        });
    }
}
