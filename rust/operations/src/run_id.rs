//! Generation of run IDs.

use std::hash::{BuildHasher as _, RandomState};

use time::{OffsetDateTime, macros::format_description};

use crate::context::Context;

/// Returns the time in milliseconds, so that runs sort, and a random suffix: two operators may begin in the same
/// millisecond, and a node takes the lock of a run with the same ID for that run's own.
#[must_use]
pub fn run_id(context: &Context) -> String {
    begun_at(context.clock.now())
}

fn begun_at(time: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]t[hour][minute][second]-[subsecond digits:3]");
    let time = time.format(format).unwrap_or_else(|_| std::process::id().to_string());
    // The standard library's source of random numbers: the keys of its hash maps.
    let random = RandomState::new().hash_one(&time) & 0xffff_ffff;
    format!("{time}-{random:08x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use time::macros::datetime;

    use super::begun_at;

    #[test]
    fn runs_that_begin_in_the_same_millisecond_have_different_ids() {
        let time = datetime!(2026-11-30 10:00:00.123 UTC);
        let ids: BTreeSet<String> = (0..50).map(|_| begun_at(time)).collect();
        assert_eq!(ids.len(), 50);
        assert!(ids.iter().all(|id| id.starts_with("20261130t100000-123-")), "{ids:?}");
    }

    #[test]
    fn ids_sort_by_the_time_at_which_the_runs_began() {
        let earlier = begun_at(datetime!(2026-11-30 10:00:00.123 UTC));
        assert!(earlier < begun_at(datetime!(2026-11-30 10:00:00.124 UTC)));
    }
}
