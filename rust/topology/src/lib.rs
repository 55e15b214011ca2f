//! What a cluster provides, on which machines it stands, and what a failure takes.
//!
//! All of it is computed from a checked machines.nix, without I/O: [`service`] derives what the cluster provides,
//! [`domain`] the machines that fail together, [`failure`] what is lost with them. [`picture`] draws the result.

pub mod domain;
pub mod failure;
pub mod picture;
pub mod service;
pub mod topology;

pub use topology::Topology;
