//! Room for rehearsal machines on this computer: inotify instances, of which Linux allows root 128 by default. A machine
//! that gets none has units that fail for no fault of the deploy.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use crate::failure::{Failure, Kind};

/// Instances that root of a NixOS machine uses: systemd 6, and one to spare.
const PER_MACHINE: usize = 7;

/// File with the number of instances that a user may have.
const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Refuses to start so many machines that some of them would get no inotify instance.
///
/// # Errors
/// There is too little room; the hint makes some.
pub fn require(machines: usize) -> Result<(), Failure> {
    // Without the file there is no limit to be read, and none that could be raised.
    let Some(limit) = fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok()) else { return Ok(()) };
    check(machines, used(Path::new("/proc")), limit)
}

fn check(machines: usize, used: usize, limit: usize) -> Result<(), Failure> {
    let wanted = used + machines * PER_MACHINE;
    if wanted <= limit {
        return Ok(());
    }
    let message = format!(
        "no room for {machines} machines: each uses about {PER_MACHINE} inotify instances, and {used} of {limit} are in use \
         on this computer"
    );
    let enough = wanted.next_power_of_two();
    Err(Failure::new(Kind::Refused, message).hint(format!("sysctl fs.inotify.max_user_instances={enough}")))
}

/// Counts the instances of this user's processes; those of other users have their own limit. A process that ends
/// meanwhile has none.
fn used(proc: &Path) -> usize {
    let user = rustix::process::geteuid().as_raw();
    let is_own = |process: &fs::DirEntry| process.metadata().is_ok_and(|metadata| metadata.uid() == user);
    let processes = fs::read_dir(proc).into_iter().flatten().flatten().filter(is_own);
    let files = processes.flat_map(|process| fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten());
    files
        .filter(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new("anon_inode:inotify")))
        .count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::{check, used};

    #[test]
    fn machines_that_would_get_no_inotify_instance_are_refused_with_the_remedy() {
        assert!(check(3, 107, 128).is_ok());
        let failure = check(3, 108, 128).unwrap_err();
        assert!(failure.message.contains("108 of 128"), "{}", failure.message);
        assert_eq!(failure.hints, ["sysctl fs.inotify.max_user_instances=256"]);
    }

    #[test]
    fn instances_are_counted_in_the_files_of_the_users_processes() {
        let proc = tempfile::tempdir().unwrap();
        for (process, file, target) in
            [("1", "3", "anon_inode:inotify"), ("1", "4", "/dev/null"), ("7", "3", "anon_inode:inotify")]
        {
            let directory = proc.path().join(process).join("fd");
            std::fs::create_dir_all(&directory).unwrap();
            symlink(target, directory.join(file)).unwrap();
        }
        std::fs::create_dir(proc.path().join("sys")).unwrap();
        assert_eq!(used(proc.path()), 2);
    }
}
