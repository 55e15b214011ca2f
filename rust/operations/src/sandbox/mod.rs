//! Sandbox of a cluster: access to its machines, and their state.

pub mod console;
pub mod fault;
pub mod machines;
mod owned;

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use machinist_model::Cluster;
use machinist_sandbox::{self as sandbox, Error, default_state_dir};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    failure::{Failure, Kind},
    project::Project,
};

/// Returns the network namespace in which a socket reaches the cluster's sandbox machines. Without a sandbox, the path
/// does not exist, and nothing is ever sent to its addresses.
#[must_use]
pub fn operator_namespace(project: &Project, cluster: &Cluster) -> PathBuf {
    let absent = || Path::new("/run/netns").join(format!("{}-sandbox-is-not-up", cluster.name));
    sandbox::operator_namespace(&state_dir(project, cluster)).unwrap_or_else(|_| absent())
}

/// Moves the thread into a network namespace.
///
/// # Errors
/// There is no such namespace, or no right to enter it.
pub fn enter(namespace: &Path) -> io::Result<()> {
    let file = File::open(namespace)?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Returns the state directory of the cluster's sandbox machines: the stage's in a rehearsal.
#[must_use]
pub fn state_dir(project: &Project, cluster: &Cluster) -> PathBuf {
    project.stage.as_ref().map_or_else(|| default_state_dir(&cluster.name), |stage| stage.sandbox.clone())
}

/// Returns the machines of a sandbox, if there is one.
#[must_use]
pub fn machines_of(state: &Path) -> Option<Vec<sandbox::MachineStatus>> {
    Some(sandbox::status(state).ok()?.machines)
}

/// Returns the reason why a machine is not running, with the last lines of its console.
#[must_use]
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

/// Converts a sandbox error into a failure.
#[must_use]
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
