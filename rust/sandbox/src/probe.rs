//! Probes a machine's sshd from the operator's namespace.

use std::{
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::error::Error;

/// Pause between two attempts: a refused connection costs microseconds, a machine's start half a second.
const PAUSE: Duration = Duration::from_millis(20);

/// Time limit of one attempt, short because an address that is not up yet is retried soon.
const ATTEMPT: Duration = Duration::from_millis(250);

/// Result of waiting for sshd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// sshd sent its banner.
    Ready,
    /// The machine ended.
    Gone,
    /// The time limit is reached.
    Late,
}

/// Waits until sshd sends its banner, `is_alive` returns false, or the time limit is reached.
///
/// # Errors
/// The operator's namespace cannot be entered.
pub(super) fn wait(
    namespace: &Path,
    (ip, port): (IpAddr, u16),
    within: Duration,
    is_alive: &(dyn Fn() -> bool + Sync),
) -> Result<Probe, Error> {
    let attempt = || -> Result<Probe, Error> {
        let file = File::open(namespace).map_err(Error::io("open", namespace))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Error::io("enter", namespace)(error.into()))?;
        let started = Instant::now();
        while started.elapsed() <= within {
            if has_banner(SocketAddr::new(ip, port)) {
                return Ok(Probe::Ready);
            }
            if !is_alive() {
                return Ok(Probe::Gone);
            }
            thread::sleep(PAUSE);
        }
        Ok(Probe::Late)
    };
    // A namespace is entered per thread: this one ends here, so that nothing else is ever started in it.
    thread::scope(|scope| scope.spawn(attempt).join()).unwrap_or(Ok(Probe::Late))
}

fn has_banner(address: SocketAddr) -> bool {
    let mut banner = [0; 4];
    let mut read = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
        // A machine under load accepts at once but sends its banner late.
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.read_exact(&mut banner)
    };
    read().is_ok() && &banner == b"SSH-"
}
