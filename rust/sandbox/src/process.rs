//! Identification of a machine's main processes by `/proc`.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::cgroup;

/// The main processes of a machine, all of them alive and in its control group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Processes {
    /// The script that starts the machine again after a reboot.
    pub supervisor: Option<i32>,
    /// systemd-nspawn.
    pub nspawn: Option<i32>,
    /// The machine's process 1, as the host numbers it; it survives when nspawn is killed.
    pub leader: Option<i32>,
}

/// Returns the main processes of the machine with this control group and directory.
pub(super) fn of_machine(group: &Path, directory: &Path) -> Processes {
    let supervisor = fs::read_to_string(directory.join("supervisor"));
    let supervisor = supervisor.ok().and_then(|text| parse_record(&text));
    let mut found = Processes::default();
    for pid in cgroup::processes(group) {
        let Some(stat) = read(pid, "stat").and_then(|text| Stat::parse(&text)) else {
            continue;
        };
        if supervisor == Some((pid, stat.start_time)) {
            found.supervisor = Some(pid);
        } else if stat.command == "systemd-nspawn" && pid_inside(pid).is_none() {
            // A child of nspawn has its name for a moment, too, while the machine starts.
            found.nspawn = found.nspawn.or(Some(pid));
        } else if pid_inside(pid) == Some(1) {
            found.leader = Some(pid);
        }
    }
    found
}

/// Sends a signal to a process if it still belongs to the machine. Returns true if it was sent.
pub(super) fn signal(group: &Path, pid: i32, signal: Signal) -> bool {
    let is_member = cgroup::processes(group).contains(&pid);
    let pid = Pid::from_raw(pid).filter(|_| is_member);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Returns the ids of a machine's processes with this name, of which the kernel keeps 15 bytes.
pub(super) fn named(group: &Path, name: &str) -> Vec<i32> {
    let has_name = |pid: &i32| {
        let stat = read(*pid, "stat").and_then(|text| Stat::parse(&text));
        stat.is_some_and(|stat| stat.command == name)
    };
    cgroup::processes(group).into_iter().filter(has_name).collect()
}

/// Returns the process's id in the pid namespace just below ours; `None` if it is in ours or deeper.
fn pid_inside(pid: i32) -> Option<i32> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let ids: Vec<i32> = line.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    match ids[..] {
        [_, inside] => Some(inside),
        _ => None,
    }
}

fn read(pid: i32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

/// Parses the supervisor's record: its process id and start time.
fn parse_record(text: &str) -> Option<(i32, u64)> {
    let (pid, start_time) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, start_time.parse().ok()?))
}

/// The fields of `/proc/<pid>/stat` that are needed here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    command: String,
    /// Clock ticks since boot (field 22 of proc(5)).
    start_time: u64,
}

impl Stat {
    /// Parses the line; returns `None` for a zombie, which is dead but not yet reaped.
    fn parse(text: &str) -> Option<Self> {
        // The command may contain spaces and parentheses: the last one closes it.
        let (head, tail) = text.rsplit_once(") ")?;
        let (_, command) = head.split_once('(')?;
        let mut fields = tail.split(' ');
        let state = fields.next()?;
        let start_time = fields.nth(18)?.trim().parse().ok()?;
        (state != "Z").then(|| Self { command: command.to_owned(), start_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "1 7 7 0 -1 4194560 100 0 0 0 1 2 3 4 20 0 1 0 123456 2650112 300";

    #[track_caller]
    fn check(line: &str, expected: Option<(&str, u64)>) {
        let found = Stat::parse(line).map(|stat| (stat.command, stat.start_time));
        assert_eq!(found, expected.map(|(command, time)| (command.to_owned(), time)));
    }

    #[test]
    fn a_stat_line_gives_command_and_start_time_and_none_of_a_zombie() {
        check(&format!("7 (sh) S {TAIL}"), Some(("sh", 123_456)));
        check(&format!("7 (a) (b c) R {TAIL}"), Some(("a) (b c", 123_456)));
        check(&format!("7 (sh) Z {TAIL}"), None);
        check("7 (sh) S 1 2", None);
        check("", None);
    }

    #[test]
    fn the_own_process_is_read_as_the_kernel_shows_it() {
        let stat = read(std::process::id().cast_signed(), "stat").and_then(|text| Stat::parse(&text));
        assert!(stat.is_some_and(|stat| stat.start_time > 0));
    }

    #[test]
    fn a_supervisor_record_is_two_numbers() {
        assert_eq!(parse_record("12 345\n"), Some((12, 345)));
        for damaged in ["", "12", "12 x", "x 12", "12 3 4"] {
            assert_eq!(parse_record(damaged), None, "{damaged}");
        }
    }
}
