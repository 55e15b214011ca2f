//! Records of a public DNS zone. [`desired`] is what a cluster publishes, [`zone`] what the zone has and who does it,
//! [`owner`] the TXT records that tell whose a record is, [`plan`] the pure comparison, [`apply`] the requests in their
//! order, and [`zone_file`] the records as text.
//!
//! A record without a TXT record of ours is never changed or deleted, and a name that has one is refused.

pub mod apply;
pub mod desired;
pub mod digitalocean;
pub mod owner;
pub mod plan;
pub mod zone;
pub mod zone_file;

pub use zone::Zone;
