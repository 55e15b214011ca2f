//! How long to wait before the next try: longer each time, up to a bound, and never the same on two nodes.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(5);

/// The tries so far.
#[derive(Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// It worked: the next wait is a short one again.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }

    /// Returns the next wait: half of it fixed, half of it random, so that the nodes of a cluster do not come all at once
    /// when etcd is back.
    pub fn wait(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.tries.min(10)).min(MOST);
        self.tries = self.tries.saturating_add(1);
        // The standard library seeds each of these from the system's randomness.
        let random = RandomState::new().build_hasher().finish() % 1024;
        bound / 2 + bound * u32::try_from(random).unwrap_or(0) / 2048
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, MOST};

    #[test]
    fn waits_grow_up_to_a_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= MOST));
        assert!(waits[39] >= MOST / 2);
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }
}
