//! Life of one channel: open, start the command, move bytes both ways, collect the status, close.

use crate::error::CHANNEL_FAILURE;
use crate::link::{ChannelFailure, Event, Feed, Link};
use crate::request::{Status, Stream};
use crate::timeout::timespec;
use rustix::event::{PollFd, PollFlags, poll};
use ssh2::{BlockDirections, Channel, ErrorCode, Session};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Receive window: the amount that a host may send on a channel before it has to wait. Large enough for 1 Gbit/s at a
/// round trip of 30 ms; twice libssh2's default.
const WINDOW: u32 = 4 << 20;

/// Maximum size of an incoming packet; OpenSSH's own limit.
const PACKET: u32 = 32 << 10;

/// Size of one read from a channel. libssh2 enlarges the window at every read of more than a quarter of it, and copies
/// packets one by one below.
const READ_SIZE: usize = 128 << 10;

/// Number of pieces that one job moves each way before the others have their turn: 2 MiB.
const TURN: usize = 64;

/// Maximum time that the host may refuse the rest of a half sent packet.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// libssh2.h: the operation would block, and must be repeated.
const EAGAIN: i32 = -37;

/// libssh2.h: errors after which the transport is unusable: send and receive failures, disconnect, timeout, bad socket,
/// protocol, MAC, decryption, encryption and key exchange errors.
const TRANSPORT_ERRORS: [i32; 12] = [-4, -5, -7, -8, -9, -12, -13, -14, -30, -43, -44, -45];

/// Time for sshd to release a closed session. It does so only after it has read all packets that have arrived: with
/// `MaxSessions 1`, a session that opens right after the last one has closed is refused.
const REOPEN_LIMIT: Duration = Duration::from_secs(2);

/// Pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The session and a duplicate of its socket to poll on.
pub(crate) struct Wire {
    pub session: Session,
    pub socket: OwnedFd,
}

/// Reason why an operation did not succeed.
enum Refusal {
    Again,
    Lost(String),
    Failed(ssh2::Error),
}

impl From<ssh2::Error> for Refusal {
    fn from(error: ssh2::Error) -> Self {
        match error.code() {
            ErrorCode::Session(EAGAIN) => Self::Again,
            ErrorCode::Session(code) if TRANSPORT_ERRORS.contains(&code) => Self::Lost(error.message().to_owned()),
            _ => Self::Failed(error),
        }
    }
}

impl Wire {
    /// Repeats an operation until no packet of it is half sent: libssh2 can do nothing else before.
    fn complete<T>(&self, mut operation: impl FnMut() -> Result<T, ssh2::Error>) -> Result<T, Refusal> {
        // More rounds mean that the packet belongs to another operation (a key exchange): that one gets its turn.
        for _ in 0..16 {
            match operation().map_err(Refusal::from) {
                Err(Refusal::Again) if self.has_half_sent() => {
                    if !self.is_writable(STALL_LIMIT).map_err(Refusal::Lost)? {
                        return Err(Refusal::Lost(format!(
                            "the host accepted no data for {} s",
                            STALL_LIMIT.as_secs()
                        )));
                    }
                }
                result => return result,
            }
        }
        Err(Refusal::Again)
    }

    /// The same for `Read` and `Write`, whose errors do not contain libssh2's code.
    fn complete_io<T>(&self, mut operation: impl FnMut() -> std::io::Result<T>) -> Result<T, Refusal> {
        self.complete(|| {
            operation().map_err(|error| {
                let again = error.kind() == std::io::ErrorKind::WouldBlock;
                let last = ssh2::Error::last_session_error(&self.session).filter(|_| !again);
                last.unwrap_or_else(|| ssh2::Error::new(ErrorCode::Session(EAGAIN), "would block"))
            })
        })
    }

    fn has_half_sent(&self) -> bool {
        matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
    }

    /// Makes the kernel acknowledge the next data at once. sshd leaves Nagle's algorithm on for commands: each of its
    /// small packets waits for the acknowledgement of the previous one, which the kernel delays by 40 ms. Measured on
    /// loopback: 47 ms for connecting and `true`, instead of 100. The kernel resets the option, so it is set
    /// repeatedly.
    pub fn acknowledge_quickly(&self) {
        // Has no effect on a ProxyCommand's pipe, which does not need it.
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.socket, true);
    }

    /// Waits until the socket is writable.
    pub fn is_writable(&self, limit: Duration) -> Result<bool, String> {
        let mut descriptors = [PollFd::new(&self.socket, PollFlags::OUT)];
        match poll(&mut descriptors, Some(&timespec(limit))) {
            Ok(_) => Ok(!descriptors[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(format!("poll: {error}")),
        }
    }
}

/// Purpose of a channel.
pub(crate) enum Target {
    /// A command line for the user's login shell.
    Command(String),
    /// A TCP connection from the host to this address.
    Tcp(String, u16),
}

/// Result of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Some data was moved; there may be more.
    Moved,
    /// All data that has arrived is consumed; the socket will signal more.
    Drained,
    /// The caller has to move first.
    Waiting,
    /// The host refused the session; it is requested again after a pause.
    Refused,
}

/// Refusals of one session so far.
struct Reopening {
    since: Instant,
    pause: Duration,
    next: Instant,
}

impl Reopening {
    fn new() -> Self {
        let now = Instant::now();
        Self { since: now, pause: FIRST_PAUSE, next: now + FIRST_PAUSE }
    }

    fn again(&mut self) {
        self.pause *= 2;
        self.next = Instant::now() + self.pause;
    }
}

enum Phase {
    Opening,
    Starting(Channel),
    Running(Channel),
    /// Closed from here; the status, if any, has been reported.
    Closing(Channel),
    Finished,
}

/// A channel and the caller that it serves.
pub(crate) struct Job {
    target: Target,
    link: Arc<Link>,
    phase: Phase,
    chunk: Vec<u8>,
    sent: usize,
    /// True while a piece of the chunk may be half sent: the next operation must be this write.
    writing: bool,
    eof_sent: bool,
    /// True once the opening has begun on the wire, so that it must be completed.
    begun: bool,
    /// True once the result has been reported to the caller.
    reported: bool,
    reopening: Option<Reopening>,
    /// True if another connection has refused the job before.
    is_moved: bool,
}

impl Job {
    pub fn new(target: Target, link: Arc<Link>) -> Self {
        Self {
            target,
            link,
            phase: Phase::Opening,
            chunk: Vec::new(),
            sent: 0,
            writing: false,
            eof_sent: false,
            begun: false,
            reported: false,
            reopening: None,
            is_moved: false,
        }
    }

    /// Returns the job of a command that another connection has refused.
    pub fn moved(command: &str, link: Arc<Link>) -> Self {
        Self { is_moved: true, ..Self::new(Target::Command(command.to_owned()), link) }
    }

    /// Returns true if the job holds one of the sessions that count towards sshd's MaxSessions.
    pub fn holds_session(&self) -> bool {
        matches!(self.target, Target::Command(_)) && matches!(self.phase, Phase::Starting(_) | Phase::Running(_))
    }

    /// Returns the time until a refused session is requested again.
    pub fn pause(&self) -> Option<Duration> {
        self.reopening.as_ref().map(|reopening| reopening.next.saturating_duration_since(Instant::now()))
    }

    /// Leaves the connection, whose host allows no further session: the caller opens another connection.
    pub fn hand_back(&mut self) {
        self.phase = Phase::Finished;
        self.link.report(Event::NoSession);
    }

    pub fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening)
    }

    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// Reports that the channel will not complete.
    pub fn fail(mut self, failure: ChannelFailure) {
        self.report(Err(failure));
    }

    fn report(&mut self, result: Result<Status, ChannelFailure>) {
        if !std::mem::replace(&mut self.reported, true) {
            self.link.report(Event::Done(result));
        }
    }

    /// Performs all work that does not block.
    ///
    /// # Errors
    /// The reason why the connection is lost.
    pub fn step(&mut self, wire: &Wire) -> Result<Progress, String> {
        let phase = std::mem::replace(&mut self.phase, Phase::Finished);
        let result = match phase {
            Phase::Opening => self.open(wire),
            Phase::Starting(channel) => self.start(wire, channel),
            Phase::Running(channel) => self.pump(wire, channel),
            Phase::Closing(channel) => self.close(wire, channel),
            Phase::Finished => Ok(Progress::Moved),
        };
        match result {
            Ok(progress) => Ok(progress),
            Err(Refusal::Again) => Ok(Progress::Drained),
            // The driver reports to all callers, after it has marked the connection as lost.
            Err(Refusal::Lost(reason)) => Err(reason),
            Err(Refusal::Failed(error)) => {
                self.report(Err(ChannelFailure::Channel(error)));
                Ok(Progress::Moved)
            }
        }
    }

    fn open(&mut self, wire: &Wire) -> Result<Progress, Refusal> {
        if self.link.is_cancelled() && !self.begun {
            return Ok(Progress::Moved);
        }
        if self.pause().is_some_and(|left| !left.is_zero()) {
            self.phase = Phase::Opening;
            return Ok(Progress::Refused);
        }
        self.begun = true;
        let opened = wire.complete(|| match &self.target {
            Target::Command(_) => wire.session.channel_open("session", WINDOW, PACKET, None),
            Target::Tcp(host, port) => wire.session.channel_direct_tcpip(host, *port, None),
        });
        if let Err(Refusal::Failed(error)) = &opened
            && error.code() == CHANNEL_FAILURE
            && matches!(self.target, Target::Command(_))
        {
            self.begun = false;
            if self.may_reopen() {
                self.phase = Phase::Opening;
                return Ok(Progress::Refused);
            }
            if !self.is_moved {
                // An abandoned command may still run there and hold the session.
                self.hand_back();
                return Ok(Progress::Moved);
            }
        }
        self.phase = match (opened, &self.target) {
            (Ok(channel), Target::Command(_)) => Phase::Starting(channel),
            (Ok(channel), Target::Tcp(..)) => Phase::Running(channel),
            (Err(Refusal::Again), _) => {
                self.phase = Phase::Opening;
                return Err(Refusal::Again);
            }
            (Err(refusal), _) => return Err(refusal),
        };
        self.reopening = None;
        Ok(Progress::Moved)
    }

    fn may_reopen(&mut self) -> bool {
        match &mut self.reopening {
            None => self.reopening = Some(Reopening::new()),
            Some(reopening) => reopening.again(),
        }
        self.reopening.as_ref().is_some_and(|reopening| reopening.since.elapsed() < REOPEN_LIMIT)
    }

    fn start(&mut self, wire: &Wire, mut channel: Channel) -> Result<Progress, Refusal> {
        let started = match &self.target {
            Target::Command(command) => wire.complete(|| channel.exec(command)),
            Target::Tcp(..) => Ok(()),
        };
        match started {
            Ok(()) => self.phase = Phase::Running(channel),
            Err(Refusal::Again) => {
                self.phase = Phase::Starting(channel);
                return Err(Refusal::Again);
            }
            Err(Refusal::Failed(error)) => {
                self.report(Err(ChannelFailure::Channel(error)));
                self.phase = Phase::Closing(channel);
            }
            Err(lost) => return Err(lost),
        }
        Ok(Progress::Moved)
    }

    fn pump(&mut self, wire: &Wire, mut channel: Channel) -> Result<Progress, Refusal> {
        if self.link.is_cancelled() && !self.writing {
            self.phase = Phase::Closing(channel);
            return Ok(Progress::Moved);
        }
        let moved =
            self.receive(wire, &mut channel).and_then(|received| Ok((received, self.send(wire, &mut channel)?)));
        let (received, sent) = match moved {
            Err(Refusal::Failed(error)) => {
                self.report(Err(ChannelFailure::Channel(error)));
                self.phase = Phase::Closing(channel);
                return Ok(Progress::Moved);
            }
            moved => moved?,
        };
        let mut progress = match (received, sent) {
            (Progress::Moved, _) | (_, Progress::Moved) => Progress::Moved,
            (Progress::Waiting, Progress::Waiting) => Progress::Waiting,
            _ => Progress::Drained,
        };
        // True only when both streams are read to their ends.
        if channel.eof() && !self.writing {
            match self.finish(wire, &mut channel) {
                Ok(status) => {
                    self.report(Ok(status));
                    self.phase = Phase::Closing(channel);
                    return Ok(Progress::Moved);
                }
                Err(Refusal::Again) if progress == Progress::Waiting => progress = Progress::Drained,
                Err(Refusal::Again) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        self.phase = Phase::Running(channel);
        Ok(progress)
    }

    fn receive(&self, wire: &Wire, channel: &mut Channel) -> Result<Progress, Refusal> {
        let mut buffer = vec![0; READ_SIZE];
        let mut stderr = channel.stderr();
        let mut progress = Progress::Waiting;
        for _ in 0..TURN {
            if !self.link.has_room() {
                return Ok(progress);
            }
            let mut moved = false;
            for stream in [Stream::Stdout, Stream::Stderr] {
                let read = wire.complete_io(|| match stream {
                    Stream::Stdout => channel.read(&mut buffer),
                    Stream::Stderr => stderr.read(&mut buffer),
                });
                match read {
                    Ok(0) | Err(Refusal::Again) => {}
                    Ok(length) => {
                        moved = true;
                        self.link.report(Event::Data(stream, buffer[..length].to_vec()));
                    }
                    Err(refusal) => return Err(refusal),
                }
            }
            if !moved {
                return Ok(if progress == Progress::Moved { progress } else { Progress::Drained });
            }
            progress = Progress::Moved;
        }
        Ok(progress)
    }

    fn send(&mut self, wire: &Wire, channel: &mut Channel) -> Result<Progress, Refusal> {
        let mut progress = Progress::Waiting;
        for _ in 0..TURN {
            if self.sent == self.chunk.len() {
                match self.link.take_input() {
                    Feed::Chunk(chunk) => (self.chunk, self.sent) = (chunk, 0),
                    Feed::Empty => return Ok(progress),
                    Feed::End => return self.end_input(wire, channel, progress),
                }
            }
            let rest = &self.chunk[self.sent..];
            match wire.complete_io(|| channel.write(rest)) {
                // The host's window is full: a packet that enlarges it will come.
                Ok(0) => return Ok(drained(progress)),
                Ok(length) => {
                    self.sent += length;
                    self.writing = false;
                    progress = Progress::Moved;
                }
                Err(Refusal::Again) => {
                    self.writing = wire.has_half_sent();
                    return Ok(drained(progress));
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(progress)
    }

    fn end_input(&mut self, wire: &Wire, channel: &mut Channel, progress: Progress) -> Result<Progress, Refusal> {
        self.chunk = Vec::new();
        self.sent = 0;
        if self.eof_sent {
            return Ok(progress);
        }
        match wire.complete(|| channel.send_eof()) {
            Ok(()) => {
                self.eof_sent = true;
                Ok(Progress::Moved)
            }
            Err(Refusal::Again) => Ok(drained(progress)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Collects the status once the host has closed the channel.
    fn finish(&self, wire: &Wire, channel: &mut Channel) -> Result<Status, Refusal> {
        if let Target::Tcp(..) = self.target {
            return Ok(Status::Exited(0));
        }
        wire.complete(|| channel.wait_close())?;
        let signal = channel.exit_signal()?.exit_signal;
        Ok(match signal {
            Some(signal) => Status::Signaled(signal),
            None => Status::Exited(channel.exit_status()?),
        })
    }

    fn close(&mut self, wire: &Wire, mut channel: Channel) -> Result<Progress, Refusal> {
        match wire.complete(|| channel.close()) {
            Err(Refusal::Again) => {
                self.phase = Phase::Closing(channel);
                Err(Refusal::Again)
            }
            Err(Refusal::Lost(reason)) => Err(Refusal::Lost(reason)),
            // The caller has its result; a channel that does not close properly is freed with the session.
            Ok(()) | Err(Refusal::Failed(_)) => Ok(Progress::Moved),
        }
    }
}

fn drained(progress: Progress) -> Progress {
    if progress == Progress::Moved { progress } else { Progress::Drained }
}
