//! State of a lock, and the decision about who may take it. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Lifetime of a lock without renewal, in seconds.
pub const LASTS: u64 = 90;

/// Content of a node's lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Incremented each time that the lock is taken. 0 if it never was.
    pub fence: u64,
    /// The current holder.
    pub holder: Option<Holder>,
    /// The file as it was read. A write must replace exactly this text.
    #[serde(skip)]
    pub text: String,
}

/// Holder of a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The holder's run.
    pub run: String,
    /// The counter of the run's first take, before it was resumed. Missing in locks of older versions.
    pub from: u64,
    /// The user and the computer, `user@host`.
    pub who: String,
    /// The holder's process, `boot id/process id/start time`, by which its computer detects whether it is still
    /// running.
    pub process: String,
    /// The time of the take, from the holder's clock (RFC 3339). For display only.
    pub since: String,
    /// The ID of the node's boot at the last renewal.
    pub boot: String,
    /// Expiry, in seconds since that boot.
    pub expires: u64,
    /// Lifetime after a renewal, in seconds.
    pub lasts: u64,
}

/// Applicant for a lock.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// The applicant's run.
    pub run: String,
    /// The user and the computer, `user@host`.
    pub who: String,
    /// The process, in the format of [`Holder::process`].
    pub process: String,
    /// The current time (RFC 3339).
    pub since: String,
}

/// State of the node besides its lock.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// The ID of the node's current boot.
    pub boot: String,
    /// Seconds since that boot.
    pub uptime: u64,
    /// True if an activation is in progress.
    pub activating: bool,
    /// True if the holder is known to have ended: a process of this computer that no longer runs.
    pub holder_ended: bool,
}

/// Result of a request for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The lock is free.
    Take,
    /// The run itself holds it, and its process has ended or no longer renews it: it is resumed, under a new counter.
    Resume,
    /// It was abandoned and may be taken over.
    TakeOver {
        /// The reason, in words.
        why: String,
    },
    /// Someone else holds it.
    Refuse {
        /// The holder, since when and until when, in words.
        why: String,
    },
}

/// Decides whether the run may take the lock.
#[must_use]
pub fn decide(lock: &Lock, run: &str, moment: &Moment) -> Decision {
    let Some(holder) = &lock.holder else {
        return if moment.activating {
            Decision::Refuse { why: "an activation is under way that no lock speaks of".to_owned() }
        } else {
            Decision::Take
        };
    };
    let left = holder.left(moment);
    if holder.run == run {
        // Only a resumed run finds its own lock.
        return if moment.holder_ended || left == 0 {
            Decision::Resume
        } else {
            let why =
                format!("run {run} still goes on at {}; the lock expires in {left} s unless it is renewed", holder.who);
            Decision::Refuse { why }
        };
    }
    let held = format!("{} has been changing it since {} (run {})", holder.who, holder.since, holder.run);
    if moment.activating {
        // Even an abandoned activation still determines the node's system.
        let why = if left == 0 || moment.holder_ended {
            format!("{held}; that run has ended, but its activation has not: it ends or reverts by itself")
        } else {
            held
        };
        return Decision::Refuse { why };
    }
    if moment.holder_ended {
        return Decision::TakeOver { why: format!("run {} of {} was cut off", holder.run, holder.who) };
    }
    if left == 0 {
        return Decision::TakeOver { why: format!("the lock of {} (run {}) has expired", holder.who, holder.run) };
    }
    Decision::Refuse { why: format!("{held}; the lock expires in {left} s unless it is renewed") }
}

impl Holder {
    /// Returns the remaining validity of the lock, in seconds.
    #[must_use]
    pub fn left(&self, moment: &Moment) -> u64 {
        let end = if self.boot == moment.boot { self.expires } else { self.lasts };
        // A holder cannot request more than the lock's lifetime: it expires, regardless of the rest of the file.
        end.saturating_sub(moment.uptime).min(self.lasts)
    }
}

impl Lock {
    /// Parses the lock file. Unreadable content counts as a free lock with the counter that was read: the counter is
    /// the protection, and a partial file cannot occur, since each write replaces the file atomically.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut fence = 0;
        let mut holder = Holder::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let number = || value.parse().unwrap_or(0);
            match key {
                "fence" => fence = number(),
                "run" => value.clone_into(&mut holder.run),
                "from" => holder.from = number(),
                "who" => value.clone_into(&mut holder.who),
                "process" => value.clone_into(&mut holder.process),
                "since" => value.clone_into(&mut holder.since),
                "boot" => value.clone_into(&mut holder.boot),
                "expires" => holder.expires = number(),
                "lasts" => holder.lasts = number(),
                _ => {}
            }
        }
        let holder = (!holder.run.is_empty()).then_some(holder);
        Self { fence, holder, text: text.to_owned() }
    }

    /// Returns the lock's text as taken by the claimant. The node adds `boot` and `expires`, which only it knows.
    ///
    /// The activation that a run started before it was resumed may still be waiting on the node, under an earlier
    /// counter.
    #[must_use]
    pub fn claimed(&self, claimant: &Claimant) -> String {
        let Claimant { run, who, process, since } = claimant;
        let fence = self.fence.saturating_add(1);
        let resumed = self.holder.as_ref().filter(|holder| holder.run == *run);
        let from = match resumed.map(|holder| holder.from) {
            None => fence,
            Some(0) => self.fence,
            Some(from) => from,
        };
        let mut text = format!("fence={fence}\nfrom={from}\nrun={}\n", line(run));
        for (key, value) in [("who", who), ("process", process), ("since", since)] {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{key}={}", line(value));
        }
        let _infallible = writeln!(text, "lasts={LASTS}");
        text
    }
}

/// Returns a value on one line: a line break in a user name must not add fields.
fn line(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Claimant, Decision, Lock, Moment, decide};

    const HELD: &str = "fence=7\nrun=r1\nwho=ann@desk\nprocess=b/1/2\nsince=T\nlasts=90\nboot=boot1\nexpires=1000\n";

    fn moment(boot: &str, uptime: u64) -> Moment {
        Moment { boot: boot.to_owned(), uptime, ..Moment::default() }
    }

    #[track_caller]
    fn check(text: &str, moment: &Moment, expect: &str) {
        let said = match decide(&Lock::parse(text), "r2", moment) {
            Decision::Take => "take".to_owned(),
            Decision::Resume => "resume".to_owned(),
            Decision::TakeOver { why } => format!("take over: {why}"),
            Decision::Refuse { why } => format!("refuse: {why}"),
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn a_lock_that_nobody_holds_is_taken() {
        check("", &moment("boot1", 5), "take");
        check("fence=7\n", &moment("boot1", 5), "take");
    }

    #[test]
    fn a_lock_that_is_held_is_refused_with_who_and_since() {
        check(
            HELD,
            &moment("boot1", 970),
            "refuse: ann@desk has been changing it since T (run r1); the lock expires in 30 s unless it is renewed",
        );
    }

    #[test]
    fn a_run_that_was_cut_off_is_resumed_and_never_while_it_may_be_alive() {
        let ours = HELD.replace("r1", "r2");
        let ended = Moment { holder_ended: true, activating: true, ..moment("boot1", 5) };
        check(&ours, &ended, "resume");
        check(&ours, &moment("boot1", 1000), "resume");
        check(
            &ours,
            &moment("boot1", 970),
            "refuse: run r2 still goes on at ann@desk; the lock expires in 30 s unless it is renewed",
        );
    }

    #[test]
    fn an_expired_lock_is_taken_over() {
        check(HELD, &moment("boot1", 1000), "take over: the lock of ann@desk (run r1) has expired");
    }

    #[test]
    fn after_a_reboot_the_holder_has_as_long_again_and_no_longer() {
        check(
            HELD,
            &moment("boot2", 10),
            "refuse: ann@desk has been changing it since T (run r1); the lock expires in 80 s unless it is renewed",
        );
        check(HELD, &moment("boot2", 90), "take over: the lock of ann@desk (run r1) has expired");
    }

    #[test]
    fn a_file_that_claims_to_last_for_ever_does_not() {
        let forever = HELD.replace("expires=1000", "expires=18446744073709551615");
        let lock = Lock::parse(&forever);
        assert_eq!(lock.holder.unwrap().left(&moment("boot1", 5)), 90);
    }

    #[test]
    fn a_run_of_this_computer_that_was_killed_is_taken_over_at_once() {
        let ended = Moment { holder_ended: true, ..moment("boot1", 5) };
        check(HELD, &ended, "take over: run r1 of ann@desk was cut off");
    }

    #[test]
    fn a_lock_file_says_who_holds_it_since_when_and_until_when() {
        let lock = Lock::parse(HELD);
        let holder = lock.holder.unwrap();
        assert_eq!((lock.fence, holder.run.as_str(), holder.who.as_str()), (7, "r1", "ann@desk"));
        assert_eq!((holder.process.as_str(), holder.since.as_str(), holder.boot.as_str()), ("b/1/2", "T", "boot1"));
        assert_eq!((holder.expires, holder.lasts), (1000, 90));
    }

    #[test]
    fn an_activation_is_called_abandoned_once_the_lock_of_its_run_has_expired() {
        let activating = |uptime| Moment { activating: true, ..moment("boot1", uptime) };
        let held = "refuse: ann@desk has been changing it since T (run r1)";
        check(HELD, &activating(999), held);
        let abandoned = format!("{held}; that run has ended, but its activation has not: it ends or reverts by itself");
        check(HELD, &activating(1000), &abandoned);
    }

    #[test]
    fn an_activation_that_is_under_way_is_never_taken_over() {
        let ended = Moment { holder_ended: true, activating: true, ..moment("boot1", 5) };
        check(
            HELD,
            &ended,
            "refuse: ann@desk has been changing it since T (run r1); that run has ended, but its activation has not: it ends or reverts by itself",
        );
        let unlocked = Moment { activating: true, ..moment("boot1", 5) };
        check("fence=7\n", &unlocked, "refuse: an activation is under way that no lock speaks of");
    }

    #[test]
    fn the_counter_grows_with_each_take_and_a_name_cannot_write_fields() {
        let claimant = Claimant {
            run: "r2".to_owned(),
            who: "eve\nfence=99@x".to_owned(),
            process: "p".to_owned(),
            since: "T".to_owned(),
        };
        let taken = Lock::parse(&Lock::parse(HELD).claimed(&claimant));
        assert_eq!((taken.fence, taken.holder.unwrap().who.as_str()), (8, "eve?fence=99@x"));
    }

    #[test]
    fn a_suspended_run_and_its_resume_never_share_a_token() {
        let claimant =
            Claimant { run: "r1".to_owned(), who: "a".to_owned(), process: "p".to_owned(), since: "T".to_owned() };
        let tokens = |lock: &Lock| (lock.fence, lock.holder.clone().unwrap().from);
        let resumed = Lock::parse(&Lock::parse(HELD).claimed(&claimant));
        assert_eq!(tokens(&resumed), (8, 7), "the activation of counter 7 still belongs to the run");
        assert_eq!(tokens(&Lock::parse(&resumed.claimed(&claimant))), (9, 7));
        let other = Claimant { run: "r2".to_owned(), ..claimant };
        assert_eq!(tokens(&Lock::parse(&resumed.claimed(&other))), (9, 9));
    }
}
