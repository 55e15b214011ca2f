//! What tests and measurements need and machinist does not. Tests about the workspace itself are in `tests/`.

pub mod delay;
pub mod skip;
