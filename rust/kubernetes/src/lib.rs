//! Kubernetes objects of a cluster, and their application through its API server.
//!
//! The desired state is computed without I/O: [`manifest`] parses the user's files, [`bootstrap`] derives objects from
//! machines.nix, and [`desired`] merges both. [`apply`] writes it to the cluster, [`diff`] reports the changes without
//! making them; both use the client of [`connect`], over streams that the caller opens.

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
