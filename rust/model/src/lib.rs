//! The typed, always valid cluster.
//!
//! `machines.nix` reaches this crate as JSON (evaluated by the `nix` crate) and as source text (for positions).
//! [`load`](crate::load::load) turns both into a [`Cluster`] or into all the diagnostics at once. Nothing here does IO.

pub mod cluster;
pub mod name;
pub mod quorum;
pub mod role;
pub mod state;

pub use cluster::{
    ApiEndpoint, Cluster, Labels, Network, Node, Operator, Orchestrator, Overlay, OverlayBackend, Provider, Ssh, Vip,
};
pub use name::NodeName;
pub use role::Role;
pub use state::RecordedState;
