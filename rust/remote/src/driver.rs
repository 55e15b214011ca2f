//! Thread that owns a connection: only it uses the libssh2 session and moves all bytes.
//!
//! libssh2 is not safe to use from two threads, reads packets of any channel while serving one, and requires the same
//! operation to be repeated while a packet is half sent. One thread with one poll keeps these rules in one place, lets
//! several commands share the connection, and keeps it alive when idle.

mod job;

pub(crate) use job::{Job, Target};

use crate::link::{ChannelFailure, Waker};
use crate::proxy::Proxy;
use crate::resolved::Alive;
use crate::timeout::timespec;
use job::{Progress, Wire};
use rustix::event::{PollFd, PollFlags, poll};
use ssh2::{BlockDirections, Session};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of open channels; sshd's default MaxSessions is 10. Further ones wait.
const CHANNEL_LIMIT: usize = 8;

/// Maximum time of a poll while several channels are open: libssh2 may have read one channel's packets while it served
/// another, and no descriptor signals those.
const SHARED_POLL: Duration = Duration::from_millis(10);

/// State shared between callers and the driver.
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    pub waker: Arc<Waker>,
}

#[derive(Default)]
struct InboxState {
    jobs: VecDeque<Job>,
    /// Number of jobs that the driver works on.
    n_active: usize,
    /// The reason why the connection accepts no more jobs.
    lost: Option<String>,
    closing: bool,
}

impl Inbox {
    pub fn new() -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self { state: Mutex::default(), waker: Arc::new(Waker::new()?) }))
    }

    /// Passes a job to the driver.
    ///
    /// # Errors
    /// The reason why the connection is lost.
    pub fn submit(&self, job: Job) -> Result<(), String> {
        let mut state = self.lock();
        match &state.lost {
            Some(reason) => Err(reason.clone()),
            None => {
                state.jobs.push_back(job);
                self.waker.wake();
                Ok(())
            }
        }
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.lock().closing = true;
        self.waker.wake();
    }

    /// Returns true if the connection serves no job at the moment.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.lost.is_none() && state.n_active == 0 && state.jobs.is_empty()
    }

    /// Returns the reason why the connection is lost, if it is.
    pub fn lost(&self) -> Option<String> {
        self.lock().lost.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a driver thread. Fields are dropped in this order: channels before their session, and the process that
/// carries the bytes last.
pub(crate) struct Driver {
    jobs: Vec<Job>,
    wire: Wire,
    inbox: Arc<Inbox>,
    alive: Alive,
    last_heard: Instant,
    last_sign: Instant,
    proxy: Option<Proxy>,
}

impl Driver {
    /// Starts the thread of a session that is logged in. `socket` is a duplicate of the session's own.
    pub fn start(
        session: Session,
        socket: OwnedFd,
        proxy: Option<Proxy>,
        alive: Alive,
        inbox: Arc<Inbox>,
    ) -> std::io::Result<()> {
        session.set_blocking(false);
        // The interval is managed here; libssh2 is to send only on request, hence its shortest one.
        session.set_keepalive(true, 1);
        let now = Instant::now();
        let driver = Self {
            jobs: Vec::new(),
            wire: Wire { session, socket },
            inbox,
            // libssh2 sends the next one no sooner than 2 s after the last.
            alive: Alive { interval: alive.interval.max(Duration::from_secs(2)), ..alive },
            last_heard: now,
            last_sign: now,
            proxy,
        };
        std::thread::Builder::new().name("ssh".to_owned()).spawn(move || driver.run()).map(drop)
    }

    fn run(mut self) {
        let reason = loop {
            if !self.accept_jobs() {
                break "the session was closed here".to_owned();
            }
            if let Err(reason) = self.turn() {
                break self.with_last_words(reason);
            }
        };
        let waiting = {
            let mut state = self.inbox.lock();
            state.lost = Some(reason.clone());
            std::mem::take(&mut state.jobs)
        };
        for job in self.jobs.drain(..).chain(waiting) {
            job.fail(ChannelFailure::Lost(reason.clone()));
        }
        // Disconnect, but without waiting long for a host that may be gone.
        self.wire.session.set_timeout(300);
        self.wire.session.set_blocking(true);
        let _ = self.wire.session.disconnect(None, "done", None);
    }

    /// Adds the last output of the process that carries the bytes to the reason of a loss.
    fn with_last_words(&self, reason: String) -> String {
        match self.proxy.as_ref().map(Proxy::last_words) {
            Some(printed) if !printed.is_empty() => {
                format!("{reason}; its proxy printed: {}", printed.replace('\n', "; "))
            }
            _ => reason,
        }
    }

    /// Accepts waiting jobs while there is room; returns false when the session is to end.
    fn accept_jobs(&mut self) -> bool {
        let mut state = self.inbox.lock();
        if self.jobs.is_empty() && !state.jobs.is_empty() {
            // No one read from the socket while the connection was idle.
            self.last_heard = Instant::now();
        }
        while self.jobs.len() < CHANNEL_LIMIT {
            match state.jobs.pop_front() {
                Some(job) => self.jobs.push(job),
                None => break,
            }
        }
        state.n_active = self.jobs.len();
        !state.closing
    }

    /// Serves each job once; waits if none of them made progress.
    fn turn(&mut self) -> Result<(), String> {
        let (mut moved, mut reads) = (false, false);
        // libssh2 keeps the state of opening a channel in the session: one at a time.
        let opening = self.jobs.iter().position(Job::is_opening);
        let mut refused = None;
        for (index, job) in self.jobs.iter_mut().enumerate() {
            if job.is_opening() && Some(index) != opening {
                continue;
            }
            let progress = job.step(&self.wire)?;
            moved |= progress == Progress::Moved;
            reads |= progress != Progress::Waiting;
            if progress == Progress::Refused {
                refused = Some(index);
            }
        }
        let is_full = self.jobs.iter().any(Job::holds_session);
        if let Some(job) = refused.filter(|_| is_full).and_then(|index| self.jobs.get_mut(index)) {
            job.hand_back();
            moved = true;
        }
        self.jobs.retain(|job| !job.is_finished());
        if moved {
            self.last_heard = Instant::now();
            return Ok(());
        }
        self.wait(reads)
    }

    /// Waits for the socket or a caller, and keeps the connection alive meanwhile. `reads` is true if some job accepts
    /// incoming data; otherwise only the end of the connection matters.
    fn wait(&mut self, reads: bool) -> Result<(), String> {
        self.send_sign_of_life()?;
        let mut interest = PollFlags::RDHUP;
        if reads {
            interest = PollFlags::IN;
            self.wire.acknowledge_quickly();
        }
        if matches!(self.wire.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both) {
            interest |= PollFlags::OUT;
        }
        let mut limit = self.alive.interval.saturating_sub(self.last_sign.elapsed()).max(Duration::from_millis(1));
        if self.jobs.len() > 1 {
            limit = limit.min(SHARED_POLL);
        }
        if let Some(pause) = self.jobs.iter().filter_map(Job::pause).min() {
            limit = limit.min(pause.max(Duration::from_millis(1)));
        }
        let (socket, woken) = poll_both(&self.wire.socket, interest, &self.inbox.waker, limit)?;
        if woken {
            self.inbox.waker.reset();
        }
        if socket.contains(PollFlags::IN) {
            self.last_heard = Instant::now();
        } else if socket.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP) && !reads {
            return Err("the host closed the connection".to_owned());
        }
        let silence = self.last_heard.elapsed();
        if reads && silence > self.alive.limit {
            return Err(format!("no data received for {} s", silence.as_secs()));
        }
        Ok(())
    }

    fn send_sign_of_life(&mut self) -> Result<(), String> {
        if self.last_sign.elapsed() < self.alive.interval {
            return Ok(());
        }
        self.last_sign = Instant::now();
        // Only with room to spare: libssh2 could not finish a partially sent keepalive.
        if self.wire.is_writable(Duration::ZERO)? {
            self.wire.session.keepalive_send().map_err(|error| error.message().to_owned())?;
        }
        Ok(())
    }
}

fn poll_both(
    socket: &OwnedFd,
    interest: PollFlags,
    waker: &Waker,
    limit: Duration,
) -> Result<(PollFlags, bool), String> {
    let mut descriptors = [PollFd::new(socket, interest), PollFd::new(waker, PollFlags::IN)];
    match poll(&mut descriptors, Some(&timespec(limit))) {
        Ok(_) => Ok((descriptors[0].revents(), !descriptors[1].revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok((PollFlags::empty(), false)),
        Err(error) => Err(format!("poll: {error}")),
    }
}
