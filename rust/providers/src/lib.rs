//! Servers of clouds. [`desired`] is what a cluster needs there, [`observed`] what exists and is offered, [`plan`] the pure
//! comparison of both with its price, and [`provision`] the requests that make it so.
//!
//! What belongs to a cluster is found by label; nothing else is changed. A request that creates something is never sent
//! twice: if its response is lost, the thing is looked up first ([`repeat`]).

mod actions;
pub mod any;
pub mod api;
pub mod cloud;
pub mod desired;
pub mod digitalocean;
pub mod dns;
pub mod error;
pub mod hetzner;
pub mod observed;
pub mod plan;
pub mod provision;
pub mod repeat;
pub mod token;

pub use any::Any;
pub use cloud::Cloud;
pub use error::CloudError;
