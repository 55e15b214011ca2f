//! Exponential backoff with jitter, up to a bound.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(5);

/// Number of tries so far.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Resets the backoff after a success.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }

    /// Returns the next wait: half of it fixed, half of it random, so that the nodes of a cluster do not reconnect at
    /// the same moment when etcd is back.
    pub fn wait(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.tries.min(10)).min(MOST);
        self.tries = self.tries.saturating_add(1);
        // The standard library seeds each instance from the system's randomness.
        let random = RandomState::new().build_hasher().finish() % 1024;
        bound / 2 + bound * u32::try_from(random).unwrap_or(0) / 2048
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, MOST};

    #[test]
    fn waits_grow_up_to_a_bound_and_restart_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= MOST));
        assert!(waits[39] >= MOST / 2);
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }
}
