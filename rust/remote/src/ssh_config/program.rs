//! Runs a program to its end within a time limit.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time for a process to end after a hang-up signal.
const PATIENCE: Duration = Duration::from_millis(500);

/// Result of a finished program.
pub(super) struct Finished {
    pub is_success: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs `command` without input; `None` if it exceeded `limit` and was killed, including its child processes.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Option<Finished>> {
    // Files instead of pipes: a process that the program leaves behind may hold a pipe open forever.
    let stdout = memory_file()?;
    let stderr = memory_file()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .process_group(0)
        .spawn()?;
    if !has_ended(&mut child, limit)? {
        end_group(&mut child);
        return Ok(None);
    }
    let status = child.wait()?;
    Ok(Some(Finished { is_success: status.success(), stdout: contents(stdout)?, stderr: contents(stderr)? }))
}

/// Ends a process that leads its own group, and the group: first with a hang-up, as OpenSSH ends a ProxyCommand, then
/// by force.
pub(crate) fn hang_up(child: &mut Child) {
    signal_group(child, Signal::HUP);
    if !has_ended(child, PATIENCE).unwrap_or(false) {
        end_group(child);
    }
    let _ = child.wait();
}

fn end_group(child: &mut Child) {
    signal_group(child, Signal::KILL);
    let _ = child.wait();
}

/// Only before the process is waited for: until then, its number cannot be reused.
fn signal_group(child: &Child, signal: Signal) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // A process that has already ended is not an error here.
        let _ = kill_process_group(group, signal);
    }
}

fn has_ended(child: &mut Child, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(ended) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return poll_status(child, deadline);
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&crate::timeout::timespec(left))) {
            Ok(n_ready) => return Ok(n_ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same for kernels without process descriptors.
fn poll_status(child: &mut Child, deadline: Instant) -> io::Result<bool> {
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(true)
}

fn memory_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

fn contents(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(bytes)
}
