//! Generation of run IDs.

use time::macros::format_description;

use crate::context::Context;

/// Returns the time in milliseconds: it sorts, and two runs of one operator never share it.
#[must_use]
pub fn run_id(context: &Context) -> String {
    let format = format_description!("[year][month][day]t[hour][minute][second]-[subsecond digits:3]");
    context.clock.now().format(format).unwrap_or_else(|_| std::process::id().to_string())
}
