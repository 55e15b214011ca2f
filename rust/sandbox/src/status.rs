//! What of a sandbox is there now.

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

/// A sandbox as it is.
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
    /// Whether switch and operator namespace are there; without them every machine is cut off, and `up` heals it.
    pub has_switch: bool,
    /// The machines, sorted by name.
    pub machines: Vec<MachineStatus>,
}

/// A machine as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineStatus {
    /// Host name.
    pub name: String,
    /// Its address in the node network.
    pub ip: IpAddr,
    /// The port its sshd was told to listen at.
    pub ssh_port: u16,
    /// Its network namespace; it exists while the machine runs, and after that until it is removed.
    pub namespace: PathBuf,
    /// The host key it was made with, an OpenSSH public key line; none if it was never made completely.
    pub host_key: Option<String>,
    /// Whether it runs.
    pub state: MachineState,
    /// Whether it is connected to the switch.
    pub link: Link,
    /// The faults that it was given and that go on.
    pub faults: Vec<Fault>,
    /// Its process 1, as this computer numbers it.
    pub pid: Option<i32>,
    /// How its container ended, if it is stopped and was not cut off.
    pub end: Option<End>,
}

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineState {
    /// It runs, and comes again when it reboots.
    Running,
    /// Its supervisor runs, but its process 1 does not: it starts, ends or reboots.
    Changing,
    /// Processes of it run, but nobody would start it again; `up` starts it anew.
    Unsupervised,
    /// No process of it runs.
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

/// Returns the state of the sandbox in `state_dir`; needs root only as far as the directory does, and changes nothing.
///
/// # Errors
/// There is no sandbox, or its record is damaged.
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
