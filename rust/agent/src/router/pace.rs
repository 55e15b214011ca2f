//! How soon haproxy may be reloaded again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How many reloads there may be within a time: more of them would only pile up old processes. A few that come one after the
/// other need not wait.
const RELOADS: usize = 4;
const WITHIN: Duration = Duration::from_secs(1);

/// When the last [`RELOADS`] were, the first of them first.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// Takes note of a reload.
    pub fn reloaded(&mut self, now: Instant) {
        self.0.push_back(now);
        if self.0.len() > RELOADS {
            self.0.pop_front();
        }
    }

    /// How long the next one must wait.
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
