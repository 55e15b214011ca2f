//! Operations from a caller's point of view: a context with fakes in, typed results and events out. No host is
//! involved.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod apply_local;
mod deploy;
mod look;
mod moves;
mod replacing;
mod sandbox;
mod stage;
