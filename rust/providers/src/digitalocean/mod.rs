//! DigitalOcean's API v2: a client of ours, because no crate holds.

pub mod dialect;

use crate::token::Source;

/// Names of the environment's variables: Terraform's for the token, and that of `doctl`.
pub const SOURCE: Source = Source {
    provider: "DigitalOcean",
    variable: "DIGITALOCEAN_TOKEN",
    others: &["DIGITALOCEAN_ACCESS_TOKEN"],
    endpoint_variable: "DIGITALOCEAN_ENDPOINT",
    endpoint: "https://api.digitalocean.com/v2",
};
