//! Stories of the program: what a person types, what they read, and the exit code. No machine takes part: a host that is
//! named here refuses connections. `UPDATE_EXPECT=1` rewrites the expected texts.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod apply_local;
mod build;
mod check;
mod deploy;
mod environment;
mod eval;
mod generate;
mod help;
mod lint;
mod plan;
mod status;
