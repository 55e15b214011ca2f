//! Bounded queues between a caller's thread and the connection's driver thread.
//!
//! One [`Link`] belongs to one channel. The caller blocks on it; the driver never does: it is woken through
//! a [`Waker`] that its poll watches. Neither side holds more than about 1 MiB for the other.

use crate::request::{Status, Stream};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Maximum number of queued bytes in one direction; then the other side must consume some.
const QUEUE_LIMIT: usize = 1 << 20;

/// Wakes the driver out of its poll.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn wake(&self) {
        // Fails only when the counter is full, and then the driver is about to wake anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Clears all wake-ups so far.
    pub fn reset(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reason why a channel ended without a status.
#[derive(Debug)]
pub(crate) enum ChannelFailure {
    /// The connection broke; with the reason.
    Lost(String),
    /// The host refused the channel or the command.
    Channel(ssh2::Error),
}

/// A report of the driver to the caller.
#[derive(Debug)]
pub(crate) enum Event {
    Data(Stream, Vec<u8>),
    Done(Result<Status, ChannelFailure>),
    /// The host allows no further session on this connection; nothing was sent.
    NoSession,
}

/// The next input for the driver to send.
pub(crate) enum Feed {
    Chunk(Vec<u8>),
    /// The caller has no more input right now.
    Empty,
    /// The caller will send no more input.
    End,
}

struct State {
    input: VecDeque<Vec<u8>>,
    input_bytes: usize,
    input_ended: bool,
    events: VecDeque<Event>,
    event_bytes: usize,
    cancelled: bool,
    done: bool,
    waker: Arc<Waker>,
}

impl State {
    fn new(waker: Arc<Waker>) -> Self {
        Self {
            input: VecDeque::new(),
            input_bytes: 0,
            input_ended: false,
            events: VecDeque::new(),
            event_bytes: 0,
            cancelled: false,
            done: false,
            waker,
        }
    }
}

/// The two queues of one channel.
pub(crate) struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

impl Link {
    pub fn new(waker: Arc<Waker>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(waker)), changed: Condvar::new() })
    }

    /// Caller: attaches to another connection that opened the channel, whose driver is woken from now on.
    pub fn attach(&self, waker: &Arc<Waker>) {
        self.lock().waker = waker.clone();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Caller: queues input; blocks while the queue is full. Returns false if the input is no longer needed.
    pub fn send(&self, chunk: Vec<u8>) -> bool {
        let mut state = self.lock();
        // The first chunk is accepted at any size: a caller's bytes are not copied piece by piece.
        while state.input_bytes >= QUEUE_LIMIT && !state.cancelled && !state.done {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let wanted = !state.cancelled && !state.done;
        if wanted && !chunk.is_empty() {
            state.input_bytes += chunk.len();
            state.input.push_back(chunk);
            state.waker.wake();
        }
        wanted
    }

    /// Caller: no more input follows.
    pub fn end_input(&self) {
        let mut state = self.lock();
        state.input_ended = true;
        state.waker.wake();
    }

    /// Caller: takes the next event; `None` when the deadline has passed.
    pub fn next(&self, deadline: Option<Instant>) -> Option<Event> {
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                if let Event::Data(_, bytes) = &event {
                    let was_full = state.event_bytes >= QUEUE_LIMIT;
                    state.event_bytes -= bytes.len();
                    if was_full && state.event_bytes < QUEUE_LIMIT {
                        state.waker.wake();
                    }
                }
                return Some(event);
            }
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Caller: abandons this channel; the driver closes it.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        self.changed.notify_all();
        state.waker.wake();
    }

    /// Driver: takes the next input.
    pub fn take_input(&self) -> Feed {
        let mut state = self.lock();
        match state.input.pop_front() {
            Some(chunk) => {
                state.input_bytes -= chunk.len();
                self.changed.notify_all();
                Feed::Chunk(chunk)
            }
            None if state.input_ended => Feed::End,
            None => Feed::Empty,
        }
    }

    /// Driver: returns true if the caller has room for more data.
    pub fn has_room(&self) -> bool {
        self.lock().event_bytes < QUEUE_LIMIT
    }

    /// Driver: returns true if the caller has abandoned the channel.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Driver: passes data or the result to the caller. After the result, no more input is needed.
    pub fn report(&self, event: Event) {
        let mut state = self.lock();
        match &event {
            Event::Data(_, bytes) => state.event_bytes += bytes.len(),
            Event::Done(_) => state.done = true,
            Event::NoSession => {}
        }
        state.events.push_back(event);
        self.changed.notify_all();
    }
}
