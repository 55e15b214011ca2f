//! Arguments of commands that work on running machines.

use clap::ValueEnum;
use machinist_operations::reach::Unreachable;

/// Handling of machines that do not answer.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum UnreachableArg {
    /// They fail the command; it runs on the others all the same
    Fail,
    /// They are named, and do not count
    Ignore,
}

impl From<UnreachableArg> for Unreachable {
    fn from(value: UnreachableArg) -> Self {
        match value {
            UnreachableArg::Fail => Self::Fail,
            UnreachableArg::Ignore => Self::Ignore,
        }
    }
}
