//! Decision whether a request is sent again, without any clock or network.

use std::time::Duration;

/// Kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sending it twice has the effect of sending it once.
    Idempotent,
    /// It creates something: a second one might create another.
    Creates,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connection was never established: nothing was sent.
    NotSent,
    /// There was no complete response, or a gateway's: the provider may have acted.
    Unknown,
    /// Another action of the same thing runs: nothing was done.
    Busy,
    /// Too many requests: nothing was done. The provider may say how long to wait.
    Limited {
        /// Seconds to wait, if the provider says so.
        after: Option<u64>,
    },
    /// Final, success or not.
    Final,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The outcome stands.
    Stop,
    /// The request may have had an effect; the caller has to look.
    Look,
    /// Wait, and send it again.
    Again(Duration),
}

/// Attempts while nothing or nobody answers.
const ATTEMPTS: u32 = 5;
/// Longest pause between two attempts, in seconds.
const LONGEST: u64 = 20;
/// Longest wait for another action to end, in seconds.
const BUSY: u64 = 300;
/// Longest wait for the rate limit, in seconds: an hour's requests are refilled at one a second.
const LIMITED: u64 = 900;

/// Decides after the attempt with this number, from 1, that began `waited` seconds after the first one.
#[must_use]
pub fn next(effect: Effect, outcome: Outcome, attempt: u32, waited: u64) -> Next {
    let pause = Duration::from_secs((1 << attempt.saturating_sub(1).min(5)).min(LONGEST));
    match (outcome, effect) {
        (Outcome::Final, _) => Next::Stop,
        (Outcome::Unknown, Effect::Creates) => Next::Look,
        (Outcome::NotSent | Outcome::Unknown, _) if attempt < ATTEMPTS => Next::Again(pause),
        (Outcome::Busy, _) if waited < BUSY => Next::Again(pause.min(Duration::from_secs(5))),
        // One request a second is what the limit refills by. A reset time would be that of a full limit.
        (Outcome::Limited { after }, _) if waited < LIMITED => {
            Next::Again(Duration::from_secs(after.unwrap_or(1).clamp(1, LONGEST * 3)))
        }
        (Outcome::NotSent | Outcome::Unknown | Outcome::Busy | Outcome::Limited { .. }, _) => Next::Stop,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Effect, Next, Outcome, next};

    #[test]
    fn a_request_that_creates_is_never_sent_twice_when_its_response_is_lost() {
        assert_eq!(next(Effect::Creates, Outcome::Unknown, 1, 0), Next::Look);
        assert_eq!(next(Effect::Idempotent, Outcome::Unknown, 1, 0), Next::Again(Duration::from_secs(1)));
    }

    #[test]
    fn what_was_certainly_not_done_is_sent_again() {
        for effect in [Effect::Creates, Effect::Idempotent] {
            assert_eq!(next(effect, Outcome::NotSent, 1, 0), Next::Again(Duration::from_secs(1)));
            assert_eq!(next(effect, Outcome::Busy, 2, 3), Next::Again(Duration::from_secs(2)));
            let limited = Outcome::Limited { after: None };
            assert_eq!(next(effect, limited, 40, 60), Next::Again(Duration::from_secs(1)));
        }
    }

    #[test]
    fn every_wait_ends() {
        for outcome in [Outcome::NotSent, Outcome::Busy, Outcome::Limited { after: Some(30) }, Outcome::Unknown] {
            assert_eq!(next(Effect::Idempotent, outcome, 1000, 100_000), Next::Stop, "{outcome:?}");
        }
        assert_eq!(next(Effect::Creates, Outcome::Final, 1, 0), Next::Stop);
    }

    #[test]
    fn a_pause_is_bounded_whatever_the_provider_says() {
        let far = Outcome::Limited { after: Some(1 << 40) };
        assert_eq!(next(Effect::Idempotent, far, 1, 0), Next::Again(Duration::from_secs(60)));
    }
}
