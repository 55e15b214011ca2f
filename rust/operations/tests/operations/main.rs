//! Operations as a caller sees them: a context with fakes in, typed results and events out. No host takes part.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod deploy;
mod look;
mod stage;
