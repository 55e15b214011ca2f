//! What tests and measurements need and machinist does not. Tests about the workspace itself are in `tests/`.

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod delay;
pub mod skip;
