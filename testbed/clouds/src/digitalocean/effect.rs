//! Changes at the end of actions.

use serde::{Deserialize, Serialize};

/// The thing that an action changes, and the droplet that it locks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A droplet.
    Droplet(u64),
    /// A volume, with the droplet that gets or loses it.
    Volume(String, Option<u64>),
    /// A reserved IP, with the droplet that gets or loses it.
    ReservedIp(String, Option<u64>),
}

/// The change at the end of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The change was made when the action began.
    None,
    /// The droplet has its status.
    Become(Status),
    /// The droplet has the image, and runs.
    Rebuild(u64),
    /// The droplet has the size.
    Resize(String),
    /// The droplet has an IPv6 address.
    Ipv6,
    /// The droplet is removed.
    Destroy,
    /// The volume is attached to a droplet, or to none.
    Volume(Option<u64>),
    /// The reserved IP is assigned to a droplet, or to none.
    Assign(Option<u64>),
}

/// The status of a droplet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being created.
    New,
    /// Up.
    Active,
    /// Down.
    Off,
}
