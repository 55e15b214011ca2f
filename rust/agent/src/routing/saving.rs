//! When the routing is saved: a moment after a change, once for a burst, and never twice at a time.

use std::{io, mem, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

/// Delay after the last change, and maximum delay after the first.
const DELAY: Duration = Duration::from_millis(300);
const LATEST: Duration = Duration::from_secs(3);

/// State of the files on the disk, compared with the routing that haproxy runs.
#[derive(Debug, Default)]
pub enum Saving {
    /// They are current.
    #[default]
    Current,
    /// They are older, and will be written.
    Due(Due),
    /// They are being written, in a task of its own: a busy disk must not delay the next change of the routing.
    Writing {
        /// The write.
        task: JoinHandle<io::Result<()>>,
        /// The next write, if the routing has changed meanwhile.
        next: Option<Due>,
    },
}

/// A future write.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Time of the first change that is not on the disk.
    since: Instant,
    at: Instant,
}

impl Due {
    fn after_a_change(now: Instant, earlier: Option<Self>) -> Self {
        let since = earlier.map_or(now, |due| due.since);
        Self { since, at: (now + DELAY).min(since + LATEST) }
    }

    fn after_an_error(now: Instant) -> Self {
        Self { since: now, at: now + LATEST }
    }
}

impl Saving {
    /// Returns the time at which the next write begins; none while one is in progress.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Self::Due(due) => Some(due.at),
            Self::Current | Self::Writing { .. } => None,
        }
    }

    /// The routing has changed.
    pub fn changed(&mut self, now: Instant) {
        match self {
            Self::Current => *self = Self::Due(Due::after_a_change(now, None)),
            Self::Due(due) => *due = Due::after_a_change(now, Some(*due)),
            Self::Writing { next, .. } => *next = Some(Due::after_a_change(now, *next)),
        }
    }

    /// A write has failed: a full disk is freed at some time without any change of the routing.
    pub fn failed(&mut self, now: Instant) {
        match self {
            Self::Current => *self = Self::Due(Due::after_an_error(now)),
            Self::Writing { next, .. } => *next = next.or_else(|| Some(Due::after_an_error(now))),
            Self::Due(_) => {}
        }
    }

    /// A write has begun.
    pub fn begun(&mut self, task: JoinHandle<io::Result<()>>) {
        *self = Self::Writing { task, next: None };
    }

    /// Completes with the write in progress, which then is none any more; pending without one.
    pub async fn finished(&mut self) -> io::Result<()> {
        let Self::Writing { task, .. } = self else { return std::future::pending().await };
        let result = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Self::Writing { next: Some(next), .. } = mem::take(self) {
            *self = Self::Due(next);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{future::ready, io};

    use tokio::{select, task::spawn, time::Instant};

    use super::{DELAY, LATEST, Saving};

    #[test]
    fn a_burst_of_changes_is_one_write_within_a_bound() {
        let (begun, mut saving) = (Instant::now(), Saving::default());
        assert_eq!(saving.due(), None);
        saving.changed(begun);
        saving.changed(begun + DELAY / 2);
        assert_eq!(saving.due(), Some(begun + DELAY / 2 + DELAY));
        saving.changed(begun + LATEST - DELAY / 2);
        assert_eq!(saving.due(), Some(begun + LATEST));
    }

    #[tokio::test]
    async fn a_change_during_a_write_is_written_after_it() {
        let (begun, mut saving) = (Instant::now(), Saving::default());
        saving.begun(spawn(ready(Ok(()))));
        saving.changed(begun);
        assert_eq!(saving.due(), None, "never two writes at a time");
        saving.finished().await.unwrap();
        assert_eq!(saving.due(), Some(begun + DELAY));
    }

    #[tokio::test]
    async fn a_failed_write_is_tried_again_without_a_change() {
        let (begun, mut saving) = (Instant::now(), Saving::default());
        saving.begun(spawn(ready(Err(io::Error::other("no space left")))));
        assert_eq!(saving.finished().await.unwrap_err().to_string(), "no space left");
        assert_eq!(saving.due(), None);
        saving.failed(begun);
        assert_eq!(saving.due(), Some(begun + LATEST));
        saving.failed(begun + DELAY);
        assert_eq!(saving.due(), Some(begun + LATEST), "a second error postpones nothing");
    }

    #[tokio::test]
    async fn a_wait_that_is_cut_off_loses_neither_the_write_nor_the_next_one() {
        let (begun, mut saving) = (Instant::now(), Saving::default());
        saving.changed(begun);
        select! { biased; _ = saving.finished() => unreachable!("no write has begun"), () = ready(()) => {} }
        assert!(saving.due().is_some());
        saving.begun(spawn(async {
            tokio::task::yield_now().await;
            Err(io::Error::other("no space left"))
        }));
        select! { biased; _ = saving.finished() => unreachable!("the task has not run"), () = ready(()) => {} }
        assert!(saving.finished().await.is_err());
    }
}
