//! Helpers for tests and measurements, not part of machinist. Tests of the workspace itself are in `tests/`.

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod delay;
pub mod skip;
