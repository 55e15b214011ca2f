//! Rate limits: a bucket that refills, and a window over the last requests.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::Moment;

const HOUR: Moment = 3_600_000;

/// Hetzner's limit: a number of requests that refills evenly within an hour.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bucket {
    /// Requests in a full bucket, and requests that an hour refills.
    pub limit: u32,
    remaining: f64,
    at: Moment,
}

impl Bucket {
    /// A full bucket.
    pub fn new(limit: u32) -> Bucket {
        Bucket { limit, remaining: f64::from(limit), at: 0 }
    }

    /// Empties or fills the bucket to a number of requests.
    pub fn set(&mut self, remaining: u32, now: Moment) {
        self.remaining = f64::from(remaining);
        self.at = now;
    }

    /// Takes one request out of the bucket; false if it is empty.
    pub fn take(&mut self, now: Moment) -> bool {
        if self.at != 0 {
            let elapsed = (now - self.at).max(0) as f64;
            let refilled = self.remaining + elapsed * f64::from(self.limit) / HOUR as f64;
            self.remaining = refilled.min(f64::from(self.limit));
        }
        self.at = now;
        let allowed = self.remaining >= 1.0;
        if allowed {
            self.remaining -= 1.0;
        }
        allowed
    }

    /// `RateLimit-Limit`, `-Remaining`, and `-Reset`: the second in which the bucket is full again.
    pub fn headers(&self, now: Moment) -> Vec<(&'static str, String)> {
        let missing = f64::from(self.limit) - self.remaining;
        let full = now as f64 / 1000.0 + missing * HOUR as f64 / 1000.0 / f64::from(self.limit.max(1));
        vec![
            ("ratelimit-limit", self.limit.to_string()),
            ("ratelimit-remaining", (self.remaining.floor() as u64).to_string()),
            ("ratelimit-reset", (full.ceil() as i64).to_string()),
        ]
    }
}

/// DigitalOcean's limits: the requests of the last hour, or of the last minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Window {
    /// Requests in the window.
    pub limit: u32,
    /// Length of the window, in milliseconds.
    pub length: Moment,
    requests: VecDeque<Moment>,
}

impl Window {
    /// A window without requests.
    pub fn new(limit: u32, length: Moment) -> Window {
        Window { limit, length, requests: VecDeque::new() }
    }

    /// Pretends that all but `remaining` requests were made at this moment.
    pub fn set(&mut self, remaining: u32, now: Moment) {
        let used = self.limit.saturating_sub(remaining) as usize;
        self.requests = std::iter::repeat_n(now, used).collect();
    }

    /// True if a request at this moment is within the limit.
    pub fn allows(&mut self, now: Moment) -> bool {
        while self.requests.front().is_some_and(|oldest| *oldest + self.length <= now) {
            self.requests.pop_front();
        }
        self.requests.len() < self.limit as usize
    }

    /// Counts a request.
    pub fn count(&mut self, now: Moment) {
        self.requests.push_back(now);
    }

    /// Requests that are left.
    pub fn remaining(&self) -> u32 {
        self.limit.saturating_sub(u32::try_from(self.requests.len()).unwrap_or(u32::MAX))
    }

    /// The moment at which the oldest request leaves the window; now without requests.
    pub fn reset(&self, now: Moment) -> Moment {
        self.requests.front().map_or(now, |oldest| oldest + self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Window};

    fn header(bucket: &Bucket, now: i64, name: &str) -> String {
        bucket.headers(now).into_iter().find(|(key, _)| *key == name).unwrap_or_default().1
    }

    #[test]
    fn an_empty_bucket_refills_one_request_a_second() {
        let mut bucket = Bucket::new(3600);
        bucket.set(1, 1_000_000);
        assert!(bucket.take(1_000_000));
        assert!(!bucket.take(1_000_999), "0.999 of a request is not one");
        assert!(bucket.take(1_001_000));
        assert!(!bucket.take(1_001_500));
    }

    #[test]
    fn the_reset_of_a_bucket_is_when_it_is_full_again() {
        let mut bucket = Bucket::new(3600);
        bucket.set(3000, 1_000_000);
        assert_eq!(header(&bucket, 1_000_000, "ratelimit-reset"), "1600");
        assert_eq!(header(&bucket, 1_000_000, "ratelimit-remaining"), "3000");
        assert!(bucket.take(10_000_000));
        assert_eq!(header(&bucket, 10_000_000, "ratelimit-remaining"), "3599", "never more than the limit");
    }

    #[test]
    fn a_window_forgets_the_oldest_request() {
        let mut window = Window::new(2, 60_000);
        for now in [0, 1000] {
            assert!(window.allows(now));
            window.count(now);
        }
        assert!(!window.allows(59_999));
        assert_eq!(window.reset(59_999), 60_000);
        assert!(window.allows(60_000));
        assert_eq!(window.remaining(), 1);
    }
}
