//! The sandbox of a cluster: how its machines are reached, how they are, and what is said while it works.

use std::path::{Path, PathBuf};

use machinist_model::Cluster;
use machinist_sandbox::{self as sandbox, Error, Event, default_state_dir};

use crate::{
    failure::{Failure, Kind},
    ui::{Tone, Ui},
};

/// Returns the network namespace in which a socket reaches the cluster's sandbox machines. If there is no sandbox, the
/// path does not exist, and nothing is ever sent to its addresses.
pub fn operator_namespace(cluster: &Cluster) -> PathBuf {
    let absent = || Path::new("/run/netns").join(format!("{}-sandbox-is-not-up", cluster.name));
    sandbox::status(&default_state_dir(&cluster.name)).map_or_else(|_| absent(), |status| status.operator_namespace)
}

/// Returns the machines of a sandbox, if there is one.
pub fn machines_of(state: &Path) -> Option<Vec<sandbox::MachineStatus>> {
    Some(sandbox::status(state).ok()?.machines)
}

/// Returns why a machine does not run, with the last lines of its console.
pub fn why_stopped(machine: &sandbox::MachineStatus) -> String {
    match &machine.end {
        Some(sandbox::End { status: 0, .. }) => "it was powered off".to_owned(),
        Some(end) => {
            let lines: String = end.last_words.lines().map(|line| format!("\n  {line}")).collect();
            format!("its container ended with status {}{lines}", end.status)
        }
        None => "it was cut off, as by a power cut".to_owned(),
    }
}

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

/// What the sandbox could not do, as a failure.
pub fn failed(error: &Error) -> Failure {
    Failure::from_error(Kind::Failed, error).maybe_hint(error.hint())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_sandbox::MachineState;

    use super::{sandbox, why_stopped};

    #[test]
    fn a_machine_whose_container_has_ended_says_its_status_and_last_words() {
        let machine = |end| sandbox::MachineStatus {
            name: "casper".to_owned(),
            ip: "10.0.0.1".parse().unwrap(),
            ssh_port: 22,
            namespace: "/run/netns/x".into(),
            host_key: None,
            state: MachineState::Stopped,
            link: sandbox::Link::Up,
            faults: Vec::new(),
            pid: None,
            end,
        };
        let end = |status| Some(sandbox::End { status, last_words: "mount: x\nFailed to start init".to_owned() });
        assert_eq!(
            why_stopped(&machine(end(1))),
            "its container ended with status 1\n  mount: x\n  Failed to start init"
        );
        assert_eq!(why_stopped(&machine(end(0))), "it was powered off");
        assert_eq!(why_stopped(&machine(None)), "it was cut off, as by a power cut");
    }
}
