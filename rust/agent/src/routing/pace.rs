//! Rate limit of haproxy reloads.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Maximum number of reloads in the window: more would only accumulate old processes. A few in a row need not wait.
const RELOADS: usize = 4;
const WITHIN: Duration = Duration::from_secs(1);

/// Times of the last [`RELOADS`], oldest first.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// Records a reload.
    pub fn reloaded(&mut self, now: Instant) {
        self.0.push_back(now);
        if self.0.len() > RELOADS {
            self.0.pop_front();
        }
    }

    /// Returns the time until the next reload is allowed.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let first = self.0.front().filter(|_| self.0.len() >= RELOADS)?;
        WITHIN.checked_sub(now.saturating_duration_since(*first)).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Pace, RELOADS, WITHIN};

    #[test]
    fn a_few_reloads_need_not_wait_and_many_do() {
        let begun = Instant::now();
        let mut pace = Pace::default();
        for number in 0..RELOADS {
            assert_eq!(pace.wait(begun), None, "{number}");
            pace.reloaded(begun);
        }
        assert_eq!(pace.wait(begun + WITHIN / 4), Some(WITHIN * 3 / 4));
        assert_eq!(pace.wait(begun + WITHIN), None);
        pace.reloaded(begun + WITHIN);
        assert_eq!(pace.wait(begun + WITHIN), None, "only those of the last second count");
        assert_eq!(pace.wait(begun + WITHIN + Duration::from_secs(9)), None);
    }
}
