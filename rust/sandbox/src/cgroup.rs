//! A machine's control group: which processes belong to it, and how all of them are ended.
//!
//! A process cannot leave its group by itself, and the kernel kills a group as a unit. So no orphan is missed, and no
//! process that reuses an id is hit.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::error::Error;

/// Returns the mount point of the unified hierarchy: `/sys/fs/cgroup`, or a directory beside the legacy controllers.
pub(super) fn hierarchy() -> Result<PathBuf, Error> {
    let path = Path::new("/proc/self/mounts");
    let mounts = fs::read_to_string(path).map_err(Error::io("read", path))?;
    cgroup2_mount(&mounts).ok_or(Error::NoCgroup2)
}

fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (mount, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(mount))
    })
}

/// Creates the group if it does not exist.
pub(super) fn create(group: &Path) -> Result<(), Error> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(Error::io("make", group)),
    }
}

/// Returns the processes of the group and of all groups below it; empty if the group does not exist.
pub(super) fn processes(group: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for group in groups(group) {
        // A group that vanishes meanwhile has no processes.
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found
}

/// Ends every process of the group at once, waits until they are gone, and removes the group.
///
/// The group must not be used again: Linux (seen with 6.18) counts the kills of a group, and immediately kills a
/// process that is spawned from one group into another with a different count, as systemd does for each service.
pub(super) fn kill(group: &Path, within: Duration) -> Result<(), Error> {
    match fs::write(group.join("cgroup.kill"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("kill the processes of", group))?,
    }
    wait_until_empty(group, within)?;
    remove(group)
}

/// Waits until the group has no processes.
pub(super) fn wait_until_empty(group: &Path, within: Duration) -> Result<(), Error> {
    let started = Instant::now();
    while is_populated(group) {
        if started.elapsed() > within {
            return Err(Error::StillAlive { path: group.to_owned(), within });
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Removes an empty group and the groups below it.
fn remove(group: &Path) -> Result<(), Error> {
    for group in groups(group).iter().rev() {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(Error::io("remove", group))?,
        }
    }
    Ok(())
}

fn is_populated(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.events")).is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// Returns the group and those below it, parents first; empty if the group does not exist.
fn groups(group: &Path) -> Vec<PathBuf> {
    if !group.is_dir() {
        return Vec::new();
    }
    let mut found = vec![group.to_owned()];
    let mut index = 0;
    while index < found.len() {
        let below = fs::read_dir(&found[index]).into_iter().flatten().flatten();
        let below: Vec<PathBuf> =
            below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect();
        found.extend(below);
        index += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_in_both_layouts() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), Some("/sys/fs/cgroup".into()));
        assert_eq!(cgroup2_mount("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn a_group_that_is_gone_has_no_processes_and_is_killed_and_removed_already() {
        let group = Path::new("/sys/fs/cgroup/mch-there-is-none");
        assert!(processes(group).is_empty());
        assert!(kill(group, Duration::ZERO).is_ok());
        assert!(remove(group).is_ok());
    }
}
