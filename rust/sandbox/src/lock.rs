//! An advisory lock for one run at a time, which the kernel releases with the last process that has it open.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use super::{
    error::Error,
    event::{Event, Events},
};

/// Time to wait for another run of the sandbox, of which a first `up` takes about a minute.
pub(super) const LOCK_WITHIN: Duration = Duration::from_secs(20 * 60);

/// Returns the path of the lock that serialises runs on a sandbox.
pub(super) fn lock_file(state_dir: &Path) -> PathBuf {
    state_dir.join("lock")
}

/// A held lock, released when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Acquires the lock, waiting for at most `patience`.
    pub(super) fn acquire(path: &Path, patience: Duration, events: Events<'_>) -> Result<Self, Error> {
        let started = Instant::now();
        let mut reported = false;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)
                .map_err(Error::io("open", path))?;
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            // A run that removes the state directory removes the lock file as well, and a lock on a deleted file
            // excludes no one.
            if locked && is_still(&file, path) {
                return Ok(Self { file });
            }
            if started.elapsed() > patience {
                return Err(Error::Locked { path: path.to_owned(), waited: patience });
            }
            if !reported {
                reported = true;
                events(Event::WaitingForLock { path: path.to_owned() });
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns an output for a program that holds the lock until it exits.
    ///
    /// A killed run leaves the program behind that it had just started: the next run must not begin before that program
    /// is done, or its resources would conflict with this run's. Only for programs without output: the lock file is
    /// never read.
    pub(super) fn held_by_output(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// A program that another test starts at this moment has a copy of the lock's file until it is executed.
    const STARTS: Duration = Duration::from_secs(10);

    #[test]
    fn a_second_run_waits_and_gives_up_and_a_later_one_gets_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO, &|_| ()).unwrap();
        let second = Lock::acquire(&path, Duration::ZERO, &|_| ());
        assert!(matches!(second, Err(Error::Locked { .. })));
        drop(held);
        Lock::acquire(&path, STARTS, &|_| ()).unwrap();
    }

    #[test]
    fn a_program_that_outlives_its_killed_run_keeps_the_lock_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO, &|_| ()).unwrap();
        let mut program = std::process::Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(held.held_by_output().unwrap())
            .spawn()
            .unwrap();
        drop(held);
        assert!(matches!(Lock::acquire(&path, Duration::ZERO, &|_| ()), Err(Error::Locked { .. })));
        drop(program.stdin.take());
        program.wait().unwrap();
        Lock::acquire(&path, STARTS, &|_| ()).unwrap();
    }

    #[test]
    fn a_lock_on_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = Lock::acquire(&path, Duration::ZERO, &|_| ()).unwrap();
        fs::remove_file(&path).unwrap();
        Lock::acquire(&path, Duration::ZERO, &|_| ()).unwrap();
    }
}
