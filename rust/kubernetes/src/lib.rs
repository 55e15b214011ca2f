//! The objects of a cluster: what they are, and how they get to its API server.
//!
//! What should be there is pure: [`manifest`] reads what a person wrote, [`bootstrap`] makes what follows from machines.nix,
//! [`desired`] puts both together. [`apply`] brings it there, [`diff`] only says what that would change; both through the
//! client of [`connect`], over streams that the caller opens.

pub mod apply;
pub mod bootstrap;
pub mod connect;
pub mod desired;
pub mod diff;
pub mod drain;
pub mod inventory;
pub mod kinds;
pub mod manifest;
pub mod object;
mod retry;
pub mod rewrite;
pub mod server;
mod yaml;

pub use yaml::print as to_yaml;
