//! Tests of the test cloud.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod api;
mod digitalocean;
mod documents;
mod hetzner;
mod hetzner_net;
mod lists;
mod orders;
mod random;
mod refusals;
mod strictness;
mod wire;
