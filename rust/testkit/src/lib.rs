//! Helpers for tests and measurements, not part of machinist. Tests of the workspace itself are in `tests/`.

pub mod delay;
pub mod skip;
