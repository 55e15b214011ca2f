//! Cluster of fake hosts, on which the real deploy loop runs in milliseconds.
//!
//! A [`FakeHost`] is the state of one machine, and answers each request as the real script does on a real host: its
//! lock has a fencing counter, an activation waits for its confirmation and is reverted without one, a reboot closes
//! all connections. A [`FakeCluster`] consists of the hosts and the etcd of their members. A test declares the
//! behaviour of a new system there ([`Behaviour`]), and events at certain requests ([`FakeCluster::at`]).

mod activation;
mod connection;
mod etcd;
mod host;
mod lock;
mod script;
mod world;

pub use self::{
    activation::{Activation, Behaviour},
    connection::FakeCluster,
    host::{FakeHost, Member, Reboot},
    world::World,
};
