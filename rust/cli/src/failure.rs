//! Result of a command: an exit code, or the failure.

use std::process::ExitCode;

pub use machinist_operations::failure::{Failure, Kind, OrFail};

/// Result of a command: its exit code.
pub type Outcome = Result<ExitCode, Failure>;

/// Exit code of a command that found pending changes.
pub const SOMETHING_TO_DO: u8 = 4;

/// Returns the exit code of an operation with this outcome.
pub fn exit_code(kind: Option<Kind>) -> ExitCode {
    kind.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.code()))
}
