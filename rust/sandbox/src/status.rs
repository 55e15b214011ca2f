//! Current state of a sandbox.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    end::End,
    error::Error,
    fault::{self, Fault},
    link::{self, Link},
    machine::Machine,
    names, network, prepare,
    process::Processes,
    record::Record,
};

/// A sandbox's current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The node network.
    pub network: IpNet,
    /// The namespace in which sockets reach the machines; it exists if `has_switch`.
    pub operator_namespace: PathBuf,
    /// The operator's address in the node network.
    pub operator_ip: IpAddr,
    /// True if the switch's and the operator's namespace exist; without them every machine is disconnected, which `up`
    /// repairs.
    pub has_switch: bool,
    /// The machines, sorted by name.
    pub machines: Vec<MachineStatus>,
}

/// A machine's current state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineStatus {
    /// Host name.
    pub name: String,
    /// Its address in the node network.
    pub ip: IpAddr,
    /// The port that its sshd was configured with.
    pub ssh_port: u16,
    /// Its network namespace, which exists while the machine runs, and afterwards until it is removed.
    pub namespace: PathBuf,
    /// The host key it was created with, an OpenSSH public key line; `None` if its creation was not completed.
    pub host_key: Option<String>,
    /// State of its processes.
    pub state: MachineState,
    /// State of its connection to the switch.
    pub link: Link,
    /// Active faults, in the order of their files.
    pub faults: Vec<Fault>,
    /// Its process 1, as the host numbers it.
    pub pid: Option<i32>,
    /// How its container ended; `None` unless it is stopped, or after a power failure.
    pub end: Option<End>,
}

/// State of a machine's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// It is running, and restarted after a reboot.
    Running,
    /// Its supervisor runs without process 1: it is starting, stopping or rebooting.
    Changing,
    /// Some of its processes run without supervisor, so a reboot would not start it again; `up` restarts it.
    Unsupervised,
    /// It has no processes.
    Stopped,
}

impl MachineState {
    fn of(processes: Processes, is_populated: bool) -> Self {
        match (processes.supervisor, processes.leader) {
            (Some(_), Some(_)) => Self::Running,
            (Some(_), None) => Self::Changing,
            (None, _) if is_populated => Self::Unsupervised,
            (None, _) => Self::Stopped,
        }
    }
}

/// Returns the path of the network namespace in which an operator reaches the machines. Unlike [`status`], it looks at no
/// machine.
///
/// # Errors
/// There is no sandbox.
pub fn operator_namespace(state_dir: &Path) -> Result<PathBuf, Error> {
    let record = Record::existing(state_dir)?;
    Ok(network::path(&names::operator(&record.cluster)))
}

/// Returns the state of the sandbox in `state_dir`; needs root only if the directory does, and changes nothing.
///
/// # Errors
/// The directory holds no sandbox, or its record is damaged.
pub fn status(state_dir: &Path) -> Result<Status, Error> {
    let record = Record::existing(state_dir)?;
    let (switch, operator) = (names::switch(&record.cluster), names::operator(&record.cluster));
    Ok(Status {
        cluster: record.cluster.clone(),
        network: record.network,
        operator_namespace: network::path(&operator),
        operator_ip: record.operator_ip,
        has_switch: network::exists(&switch) && network::exists(&operator),
        machines: record.machines.keys().map(|name| of_machine(&record, state_dir, name)).collect::<Result<_, _>>()?,
    })
}

fn of_machine(record: &Record, state_dir: &Path, name: &str) -> Result<MachineStatus, Error> {
    let machine = Machine { record, state_dir, name };
    let processes = machine.processes();
    let own = record.machine(name)?;
    let state = MachineState::of(processes, !super::cgroup::processes(&machine.group()).is_empty());
    Ok(MachineStatus {
        name: name.to_owned(),
        ip: own.ip,
        ssh_port: own.ssh_port,
        namespace: network::path(&machine.namespace()),
        host_key: prepare::host_key(&machine.directory()),
        end: if state == MachineState::Stopped { machine.end() } else { None },
        state,
        link: link::of_machine(state_dir, name),
        faults: fault::of_machine(state_dir, name),
        pid: processes.leader,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_runs_only_with_both_its_supervisor_and_its_process_1() {
        let state = |supervisor, leader, is_populated| {
            MachineState::of(Processes { supervisor, nspawn: None, leader }, is_populated)
        };
        assert_eq!(state(Some(7), Some(9), true), MachineState::Running);
        assert_eq!(state(Some(7), None, true), MachineState::Changing);
        assert_eq!(state(None, Some(9), true), MachineState::Unsupervised);
        assert_eq!(state(None, None, true), MachineState::Unsupervised, "orphans only");
        assert_eq!(state(None, None, false), MachineState::Stopped);
    }
}
