//! Operations on applications.

pub mod place;
pub mod remove;
pub mod show;
pub mod update;
