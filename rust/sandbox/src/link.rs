//! Disconnects a machine from the switch, and connects it again.

use std::{fs, io, path::Path};

use super::{
    error::Error,
    lock::{LOCK_WITHIN, Lock, lock_file},
    names, network,
    record::{Record, machine_dir},
};

/// State of the cable between a machine and the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Connected.
    Up,
    /// Disconnected, also after reboots of the machine.
    Down,
}

/// Connects or disconnects a machine.
///
/// # Errors
/// No machine of this name, or `ip` failed.
pub fn set_link(state_dir: &Path, machine: &str, link: Link) -> Result<(), Error> {
    let record = Record::existing(state_dir)?;
    let lock = Lock::acquire(&lock_file(state_dir), LOCK_WITHIN, &|_| ())?;
    record.machine(machine)?;
    let marker = marker(state_dir, machine);
    let word = match link {
        Link::Down => {
            fs::write(&marker, "").map_err(Error::io("write", &marker))?;
            "down"
        }
        Link::Up => match fs::remove_file(&marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io("remove", &marker)(error)),
            _ => "up",
        },
    };
    if network::exists(&names::machine(&record.cluster, machine)) {
        let line = format!("link set {} {word}\n", names::port(machine));
        network::batch(&lock, Some(&names::switch(&record.cluster)), &line)?;
    }
    Ok(())
}

/// Returns the state of a machine's cable.
pub(super) fn of_machine(state_dir: &Path, machine: &str) -> Link {
    if marker(state_dir, machine).exists() { Link::Down } else { Link::Up }
}

fn marker(state_dir: &Path, machine: &str) -> std::path::PathBuf {
    machine_dir(state_dir, machine).join("link-down")
}
