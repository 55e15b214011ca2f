//! Whether a machine's sshd answers, asked from the operator's namespace.

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

/// Between two attempts: a refused connection costs microseconds, a machine's start half a second.
const PAUSE: Duration = Duration::from_millis(20);

/// For one attempt: an address that nobody answers for yet is asked for again soon.
const ATTEMPT: Duration = Duration::from_millis(250);

/// How the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// sshd sent its banner.
    Ready,
    /// The machine is no more.
    Gone,
    /// The time is over.
    Late,
}

/// Waits until sshd sends its banner, `is_alive` says no, or the time is over.
///
/// # Errors
/// The operator's namespace cannot be entered.
pub(super) fn wait(
    namespace: &Path,
    (ip, port): (IpAddr, u16),
    within: Duration,
    is_alive: &(dyn Fn() -> bool + Sync),
) -> Result<Answer, Error> {
    let ask = || -> Result<Answer, Error> {
        let file = File::open(namespace).map_err(Error::io("open", namespace))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| Error::io("enter", namespace)(error.into()))?;
        let started = Instant::now();
        while started.elapsed() <= within {
            if has_banner(SocketAddr::new(ip, port)) {
                return Ok(Answer::Ready);
            }
            if !is_alive() {
                return Ok(Answer::Gone);
            }
            thread::sleep(PAUSE);
        }
        Ok(Answer::Late)
    };
    // The namespace belongs to the thread: one that ends here, so that nothing else is ever started in there.
    thread::scope(|scope| scope.spawn(ask).join()).unwrap_or(Ok(Answer::Late))
}

fn has_banner(address: SocketAddr) -> bool {
    let mut banner = [0; 4];
    let mut read = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
        // A machine under load accepts at once and greets later.
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.read_exact(&mut banner)
    };
    read().is_ok() && &banner == b"SSH-"
}
