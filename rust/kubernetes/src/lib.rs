//! The objects of a cluster: what they are, and how they get to its API server.
//!
//! [`manifest`] reads what a person wrote.

pub mod manifest;
