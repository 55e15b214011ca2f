//! A full disk: the machine's /nix on its own file system, with a file that occupies all free space.

use std::{fs, io, path::PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, OFlags, fallocate, fstatvfs, unlinkat};

use super::{open_inside, running};
use crate::{
    error::Error,
    event::{Event, Events},
    file::{make_dir, remove_file},
    machine::{Machine, ready},
    mountinfo, programs,
};

/// Name of the file that occupies the space, which the supervisor uses as well.
const FILL: &str = ".machinist-fault";

/// Size of the disk, whose image is sparse.
const SIZE: &str = "64G";

/// Occupies all free space of /nix.
pub(super) fn fill(machine: &Machine<'_>, events: Events<'_>) -> Result<(), Error> {
    if !image(machine).exists() {
        give_disk(machine)?;
    }
    if machine.processes().leader.is_none() {
        events(Event::Starting { machine: machine.name.to_owned() });
        machine.launch()?;
        ready(machine, events)?;
    }
    let root = root(machine)?;
    let fail = |error: rustix::io::Errno| Error::io("fill", &root.join("nix"))(io::Error::from(error));
    let file = open_inside(&root, &format!("nix/{FILL}"), OFlags::CREATE | OFlags::RDWR)?;
    let mut length = file.metadata().map_err(Error::io("read", &root))?.len();
    let found = fstatvfs(&file).map_err(fail)?;
    // Reserved blocks use no space in the image. Part of the space goes into the list of reserved extents, so the last
    // attempts are smaller.
    let mut piece = found.f_bavail * found.f_frsize;
    while piece >= found.f_frsize {
        match fallocate(&file, FallocateFlags::empty(), length, piece) {
            Ok(()) => length += piece,
            Err(rustix::io::Errno::NOSPC) => piece /= 2,
            Err(error) => return Err(fail(error)),
        }
    }
    Ok(())
}

/// Frees the space. A stopped machine gets it back when it starts.
pub(super) fn empty(machine: &Machine<'_>) -> Result<(), Error> {
    if machine.processes().leader.is_none() {
        return Ok(());
    }
    let root = root(machine)?;
    let directory = open_inside(&root, "nix", OFlags::DIRECTORY)?;
    match unlinkat(&directory, FILL, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::io("remove", &root.join("nix").join(FILL))(error.into())),
    }
}

/// Moves the machine's /nix from a directory on the host's file system to its own disk image.
fn give_disk(machine: &Machine<'_>) -> Result<(), Error> {
    machine.power_off()?;
    let (directory, image) = (machine.directory(), image(machine));
    let (nix, new) = (directory.join("nix"), directory.join("nix.img.new"));
    remove_file(&new)?;
    let (from, to) = (nix.display().to_string(), new.display().to_string());
    // No space reserved for root, and no journal: only processes are ever killed, not the kernel that writes the disk.
    let options = ["-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"];
    programs::run("mkfs.ext4", &[&options[..], &["-d", &from, &to, SIZE]].concat())?;
    fs::rename(&new, &image).map_err(Error::io("rename", &new))?;
    mountinfo::remove_tree(&nix)?;
    make_dir(&nix, 0o755)
}

fn image(machine: &Machine<'_>) -> PathBuf {
    machine.directory().join("nix.img")
}

/// Returns the machine's root as the host sees it, through its process 1.
fn root(machine: &Machine<'_>) -> Result<PathBuf, Error> {
    Ok(PathBuf::from(format!("/proc/{}/root", running(machine)?)))
}
