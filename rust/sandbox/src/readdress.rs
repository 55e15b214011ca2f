//! Change of a machine's address, which its own system has made already.

use std::{net::IpAddr, path::Path};

use super::{
    error::Error,
    lock::{LOCK_WITHIN, Lock, lock_file},
    machine::{Machine, supervise_file},
    prepare::Settings,
    record::Record,
};

/// Records the address with which a machine starts from now on, as the configuration of a real one would. The running
/// machine is left alone: its system adds and removes addresses.
///
/// # Errors
/// No machine of this name, another one has the address, or the record cannot be written.
pub fn readdress(state_dir: &Path, machine: &str, ip: IpAddr) -> Result<(), Error> {
    Record::existing(state_dir)?;
    let _lock = Lock::acquire(&lock_file(state_dir), LOCK_WITHIN, &|_| ())?;
    let mut record = Record::existing(state_dir)?;
    record.readdress(machine, ip)?;
    record.save(state_dir)?;
    let machine = Machine { record: &record, state_dir, name: machine };
    Settings::of(&machine, &supervise_file(state_dir))?.write(&machine.directory())
}
