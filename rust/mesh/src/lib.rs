//! Service mesh: its data in etcd, and the routing of a node derived from it.
//!
//! Data flow: a key and its value parse into an [`Entry`] or an error; the valid entries form a [`Store`]; [`route`]
//! derives the node's routing and the problems; [`change`] computes the minimal action on haproxy. Pure: the agent does
//! all I/O.

mod address;
pub mod change;
pub mod command;
mod entry;
pub mod environment;
mod instance;
mod key;
pub mod listeners;
mod name;
mod routing;
mod store;
#[cfg(feature = "template")]
pub mod template;
mod transaction;
mod value;

pub use entry::{Entry, EntryError};
pub use instance::{Check, CheckKind, LocalInstance, LocalInstanceError};
pub use key::{Group, INSTANCES, InstanceKey, Key, PREFIX, SCHEMA, node_instances};
pub use name::{Name, NameError};
pub use routing::{Problem, Routing, Server, Service, ServiceName, Settings, route};
pub use store::{Change, Pair, Store};
pub use transaction::{Compare, Operation, Transaction};
pub use value::{Env, Ingress, Instance, Location, Metadata, NodeRecord, VERSION, ValueError};
