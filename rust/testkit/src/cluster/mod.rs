//! A cluster of fake hosts, on which the real deploy loop runs in milliseconds.
//!
//! A [`FakeHost`] is the state of one machine, and answers each request as the real script does on a real host: its lock
//! has a fencing counter, an activation waits for its confirmation and goes back without one, a reboot ends all
//! connections. A [`FakeCluster`] is the hosts with the etcd that their members form. A test says beforehand what a new
//! system does there ([`Behaviour`]), and what happens at which request ([`FakeCluster::at`]).

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
