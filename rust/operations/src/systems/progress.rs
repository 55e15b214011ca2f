//! Progress of nix while it evaluates and builds: no build is silent for longer than a few seconds.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use machinist_nix::Watch;
use machinist_rollout::Interrupt;

use crate::{context::Context, event::Events};

/// Interval between two reports.
const PAUSE: Duration = Duration::from_secs(5);

/// Observer of all nix processes of one attempt.
pub(super) struct Progress {
    events: Events,
    interrupt: Interrupt,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    /// Number of builds that have begun.
    builds: usize,
    /// Name of the last one.
    name: Option<String>,
    reported: Instant,
}

impl Progress {
    pub(super) fn new(context: &Context) -> Self {
        let begun = Instant::now();
        let state = Mutex::new(State { builds: 0, name: None, reported: begun });
        Self { events: context.events.clone(), interrupt: context.interrupt.clone(), begun, state }
    }

    /// Reports progress if the last report is old enough.
    fn report(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.reported.elapsed() < PAUSE {
            return;
        }
        state.reported = Instant::now();
        let seconds = self.begun.elapsed().as_secs();
        self.events.progress(words(state.builds, state.name.as_deref(), seconds));
    }
}

impl Watch for Progress {
    fn line(&self, line: &str) {
        if let Some(name) = build_of(line) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.builds += 1;
            state.name = Some(name.to_owned());
        }
    }

    fn stops(&self) -> bool {
        self.report();
        self.interrupt.is_set()
    }
}

fn words(builds: usize, name: Option<&str>, seconds: u64) -> String {
    match name {
        None => format!("evaluating, for {seconds} s"),
        Some(name) => format!("building, for {seconds} s: derivation {builds} is {name}"),
    }
}

/// Returns the name of the derivation in `building '/nix/store/<hash>-<name>.drv'...`.
fn build_of(line: &str) -> Option<&str> {
    let path = line.strip_prefix("building '")?.split('\'').next()?;
    path.strip_prefix("/nix/store/")?.split_once('-')?.1.strip_suffix(".drv")
}

#[cfg(test)]
mod tests {
    use super::{build_of, words};

    #[test]
    fn the_last_build_is_named_without_its_hash() {
        let line = "building '/nix/store/l674mvr81sf3f60pn17zhvgha4a5spk1-bad-1.0.drv'...";
        assert_eq!(build_of(line), Some("bad-1.0"));
        for line in ["building '/x'", "copying path '/nix/store/a-b.drv'", "building"] {
            assert_eq!(build_of(line), None, "{line}");
        }
        assert_eq!(words(0, None, 7), "evaluating, for 7 s");
        assert_eq!(words(3, Some("bad-1.0"), 12), "building, for 12 s: derivation 3 is bad-1.0");
    }
}
