//! Fault injection: failures of real machines, applied to a machine of the sandbox and healed.
//!
//! A lasting fault leaves a file in the machine's directory, which the supervisor reads at each start: faults of the
//! cable or the disk survive a reboot, those in the machine's kernel or systemd do not.

mod disk;
mod rate;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

pub use self::rate::{ParseRateError, Rate};
use super::{
    error::Error,
    event::Events,
    file::{make_dir, remove_file, write},
    link::{self, Link},
    machine::{Machine, ready, with_machine},
    names, network, process, programs,
    record::machine_dir,
};

/// The nftables table that drops sshd's port. Its hook has a higher priority than any firewall's chain.
const TABLE: &str = "inet machinist-fault";

/// Programs that only faults need.
const PROGRAMS: &[(&str, &str)] =
    &[("nft", "nftables"), ("nsenter", "util-linux"), ("tc", "iproute2"), ("mkfs.ext4", "e2fsprogs")];

/// A failure of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The cable is disconnected. Survives a reboot.
    Link,
    /// Packets to sshd's port are dropped, also those of established connections. A reboot ends it.
    Ssh,
    /// A systemd unit is stopped. A reboot ends it.
    Unit(String),
    /// /nix has no free space. Survives a reboot.
    Disk,
    /// The rate at which the machine receives is limited. Survives a reboot.
    Bandwidth(Rate),
    /// etcd's process is killed, once.
    Etcd,
    /// The machine loses power and is started again.
    Reboot,
}

impl Fault {
    /// Returns true if the fault lasts until it is healed.
    #[must_use]
    pub fn lasts(&self) -> bool {
        !matches!(self, Self::Etcd | Self::Reboot)
    }

    /// Returns path, below the machine's directory, and content of the file that records a lasting fault.
    fn marker(&self) -> Option<(String, String)> {
        let plain = |name: &str| Some((format!("faults/{name}"), String::new()));
        match self {
            Self::Ssh => plain("ssh"),
            Self::Unit(unit) => plain(&format!("unit-{unit}")),
            Self::Disk => plain("disk"),
            Self::Bandwidth(rate) => Some(("faults/bandwidth".to_owned(), rate.tbf())),
            // The cable has its own file.
            Self::Link | Self::Etcd | Self::Reboot => None,
        }
    }

    /// Parses a file of [`Fault::marker`]; returns `None` for any other file.
    fn from_marker(name: &str, text: &str) -> Option<Self> {
        match name {
            "ssh" => Some(Self::Ssh),
            "disk" => Some(Self::Disk),
            "bandwidth" => Rate::from_tbf(text).map(Self::Bandwidth),
            _ => name.strip_prefix("unit-").map(|unit| Self::Unit(unit.to_owned())),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => formatter.write_str("link"),
            Self::Ssh => formatter.write_str("ssh"),
            Self::Unit(unit) => write!(formatter, "unit {unit}"),
            Self::Disk => formatter.write_str("disk"),
            Self::Bandwidth(rate) => write!(formatter, "bandwidth {rate}"),
            Self::Etcd => formatter.write_str("etcd"),
            Self::Reboot => formatter.write_str("reboot"),
        }
    }
}

/// Injects a fault into a machine, in addition to those that are active.
///
/// The first [`Fault::Disk`] of a machine moves its /nix to its own disk, for which the machine is restarted.
///
/// # Errors
/// No machine of this name, it must be running and is not, or a program that applies the fault failed.
pub fn inject(state_dir: &Path, machine: &str, fault: &Fault, events: Events<'_>) -> Result<(), Error> {
    programs::require(PROGRAMS)?;
    if *fault == Fault::Link {
        return link::set_link(state_dir, machine, Link::Down);
    }
    if let Fault::Unit(unit) = fault {
        check_unit(unit)?;
    }
    with_machine(state_dir, machine, events, |machine| {
        // Recorded before it is applied, so that it can be healed even if this run is killed.
        if let Some((file, text)) = fault.marker() {
            running_unless(*fault == Fault::Disk || matches!(fault, Fault::Bandwidth(_)), &machine)?;
            make_dir(&machine.directory().join("faults"), 0o755)?;
            write(&machine.directory().join(file), text.as_bytes(), 0o644)?;
        }
        match fault {
            Fault::Link => Ok(()),
            Fault::Ssh => drop_ssh(&machine),
            Fault::Unit(unit) => systemctl(&machine, "stop", unit),
            Fault::Disk => disk::fill(&machine, events),
            Fault::Bandwidth(rate) => limit(&machine, rate),
            Fault::Etcd => kill(&machine, "etcd"),
            Fault::Reboot => {
                running_unless(false, &machine)?;
                machine.kill()?;
                machine.launch()?;
                ready(&machine, events)
            }
        }
    })
}

/// Heals faults of a machine, one (`only`) or all, and returns those that were active.
///
/// # Errors
/// No machine of this name, or a fault could not be healed.
pub fn heal(state_dir: &Path, machine: &str, only: Option<&Fault>, events: Events<'_>) -> Result<Vec<Fault>, Error> {
    let mut healed = of_machine(state_dir, machine);
    healed.retain(|fault| only.is_none_or(|only| only == fault));
    if healed.contains(&Fault::Link) {
        link::set_link(state_dir, machine, Link::Up)?;
    }
    with_machine(state_dir, machine, events, |machine| healed.iter().try_for_each(|fault| undo(&machine, fault)))?;
    Ok(healed)
}

fn undo(machine: &Machine<'_>, fault: &Fault) -> Result<(), Error> {
    let runs = machine.processes().leader.is_some();
    match fault {
        Fault::Ssh if runs => nft(machine, &format!("add table {TABLE}\ndelete table {TABLE}"))?,
        Fault::Unit(unit) if runs => systemctl(machine, "start", unit)?,
        Fault::Disk => disk::empty(machine)?,
        Fault::Bandwidth(_) if network::exists(&machine.namespace()) => {
            let switch = names::switch(&machine.record.cluster);
            programs::run("tc", &["-n", &switch, "qdisc", "delete", "dev", &names::port(machine.name), "root"])?;
        }
        _ => {}
    }
    match fault.marker() {
        Some((file, _)) => remove_file(&machine.directory().join(file)),
        None => Ok(()),
    }
}

/// Returns the active faults of a machine.
pub(super) fn of_machine(state_dir: &Path, machine: &str) -> Vec<Fault> {
    let mut found = Vec::new();
    if link::of_machine(state_dir, machine) == Link::Down {
        found.push(Fault::Link);
    }
    let files = fs::read_dir(machine_dir(state_dir, machine).join("faults")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    files.sort();
    found.extend(files.iter().filter_map(|file| {
        let name = file.file_name()?.to_str()?;
        Fault::from_marker(name, &fs::read_to_string(file).ok()?)
    }));
    found
}

fn drop_ssh(machine: &Machine<'_>) -> Result<(), Error> {
    let port = machine.record.machine(machine.name)?.ssh_port;
    let hook = "type filter hook input priority -300; policy accept;";
    nft(
        machine,
        &format!(
            "add table {TABLE}\ndelete table {TABLE}\nadd table {TABLE}\nadd chain {TABLE} input {{ {hook} }}\n\
             add rule {TABLE} input tcp dport {port} drop"
        ),
    )
}

fn nft(machine: &Machine<'_>, commands: &str) -> Result<(), Error> {
    let namespace = format!("--net={}", network::path(&machine.namespace()).display());
    programs::run("nsenter", &[&namespace, "nft", commands]).map(drop)
}

fn limit(machine: &Machine<'_>, rate: &Rate) -> Result<(), Error> {
    if !network::exists(&machine.namespace()) {
        return Ok(());
    }
    let (switch, port, tbf) = (names::switch(&machine.record.cluster), names::port(machine.name), rate.tbf());
    let mut arguments = vec!["-n", &switch, "qdisc", "replace", "dev", &port, "root", "tbf"];
    arguments.extend(tbf.split_whitespace());
    programs::run("tc", &arguments).map(drop)
}

/// Runs systemctl inside the machine.
fn systemctl(machine: &Machine<'_>, verb: &str, unit: &str) -> Result<(), Error> {
    let leader = running(machine)?.to_string();
    let enter = ["--target", &leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--root"];
    programs::run("nsenter", &[&enter[..], &["systemctl", verb, "--", unit]].concat()).map(drop)
}

/// Kills the machine's processes of this name.
fn kill(machine: &Machine<'_>, name: &str) -> Result<(), Error> {
    running(machine)?;
    let group = machine.group();
    let killed = process::named(&group, name).into_iter().filter(|pid| process::signal(&group, *pid, Signal::KILL));
    match killed.count() {
        0 => Err(Error::NoProcess { machine: machine.name.to_owned(), process: name.to_owned() }),
        _ => Ok(()),
    }
}

/// Returns the machine's process 1, as the host numbers it.
fn running(machine: &Machine<'_>) -> Result<i32, Error> {
    machine.processes().leader.ok_or_else(|| Error::NotRunning { machine: machine.name.to_owned() })
}

fn running_unless(may_be_stopped: bool, machine: &Machine<'_>) -> Result<(), Error> {
    if may_be_stopped { Ok(()) } else { running(machine).map(drop) }
}

/// Restricts the characters of a unit's name, which becomes a file name and an argument.
fn check_unit(unit: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'@' | b':' | b'\\');
    if !unit.is_empty() && unit.len() <= 200 && unit.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::Spec { reason: format!("`{unit}` is not a valid systemd unit name") })
}

/// Opens a file below a machine's root; symbolic links in it are never followed out of it.
fn open_inside(root: &Path, path: &str, flags: rustix::fs::OFlags) -> Result<fs::File, Error> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let fail = |error: rustix::io::Errno| Error::io("open", &root.join(path))(io::Error::from(error));
    let directory = fs::File::open(root).map_err(Error::io("open", root))?;
    let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
    let file = openat2(&directory, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT);
    file.map(fs::File::from).map_err(fail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_fault_that_lasts_is_found_again_by_its_file() {
        let lasting =
            [Fault::Ssh, Fault::Unit("etcd.service".into()), Fault::Disk, Fault::Bandwidth("20mbit".parse().unwrap())];
        for fault in lasting {
            let (file, text) = fault.marker().unwrap();
            let name = file.strip_prefix("faults/").unwrap();
            assert_eq!(Fault::from_marker(name, &text), Some(fault));
        }
        assert_eq!(Fault::from_marker("ssh.new~", ""), None);
        for once in [Fault::Etcd, Fault::Reboot] {
            assert!(!once.lasts() && once.marker().is_none(), "{once}");
        }
    }

    #[test]
    fn an_invalid_unit_name_is_refused_before_it_becomes_a_file() {
        for unit in ["", "../link-down", "a b", "a/b", "a\n"] {
            assert!(check_unit(unit).is_err(), "{unit:?}");
        }
        for unit in ["etcd.service", "getty@tty1.service", r"dev-a\x2db.device"] {
            assert!(check_unit(unit).is_ok(), "{unit}");
        }
    }
}
