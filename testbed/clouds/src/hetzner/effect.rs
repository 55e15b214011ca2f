//! Changes at the end of actions.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::time::Moment;

/// The change at the end of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The change was made when the action began.
    None,
    /// A server has its status.
    Become(u64, Status),
    /// A server boots, from its disk or the rescue system.
    Boot(u64),
    /// A server is removed.
    Delete(u64),
    /// A server has the image.
    Rebuild(u64, u64),
    /// A server has the type.
    Retype(u64, String),
    /// The rescue system is the next to boot, until this moment; `None` is the disk.
    Rescue(u64, Option<Moment>),
    /// A server has a private address.
    Attach(u64, PrivateNet),
    /// A server leaves a network.
    Detach(u64, u64),
    /// A server has other alias addresses in a network.
    Aliases(u64, u64, Vec<String>),
    /// A server is in a placement group, or in none.
    Place(u64, Option<u64>),
    /// A volume is attached to a server, or to none.
    Volume(u64, Option<u64>),
    /// A primary IP is assigned to a server, or to none.
    Primary(u64, Option<u64>),
    /// A floating IP is assigned to a server, or to none.
    Floating(u64, Option<u64>),
}

/// The status of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being created.
    Initializing,
    /// Booting.
    Starting,
    /// Up.
    Running,
    /// Shutting down.
    Stopping,
    /// Down.
    Off,
    /// Being deleted.
    Deleting,
    /// Changing its type.
    Migrating,
    /// Getting an image.
    Rebuilding,
}

/// A server's place in a private network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivateNet {
    /// The network.
    pub network: u64,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Further addresses.
    pub alias_ips: Vec<Ipv4Addr>,
    /// Lower case, with colons.
    pub mac: String,
}
