//! Results of commands: an exit code, or why there is none.

use std::process::ExitCode;

pub use machinist_operations::failure::{Failure, Kind, OrFail};

/// Result of a command: its exit code.
pub type Outcome = Result<ExitCode, Failure>;

/// Exit code of a command that found something to do.
pub const SOMETHING_TO_DO: u8 = 4;

/// Exit code of an operation that ended so.
pub fn exit_code(kind: Option<Kind>) -> ExitCode {
    kind.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.code()))
}
