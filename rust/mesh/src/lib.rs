//! The service mesh: its data in etcd, and the routing of a node that follows from it.
//!
//! The way of the data: a key and its value are an [`Entry`] or the reason why they are none; the entries that are there are
//! a [`Store`]; [`route`] makes of it what the node routes and what is wrong; [`change`] says the least that haproxy must
//! be told. Pure: the agent reads, writes and runs.

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
