//! Names of runs.

use time::{OffsetDateTime, macros::format_description};

/// The time, to the millisecond: sorts, and two runs of one operator never share it.
pub fn run_id() -> String {
    let format = format_description!("[year][month][day]t[hour][minute][second]-[subsecond digits:3]");
    OffsetDateTime::now_utc().format(format).unwrap_or_else(|_| std::process::id().to_string())
}
