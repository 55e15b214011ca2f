//! Typed cluster that is always valid.
//!
//! `machines.nix` reaches this crate as JSON (evaluated by the `nix` crate) and as source text (for positions).
//! [`load`](crate::load::load) turns both into a [`Cluster`] or into all diagnostics at once. The crate performs no IO.

mod check;
pub mod cluster;
pub mod codes;
mod conflict;
pub mod defaults;
pub mod diagnostic;
mod directory;
pub mod dns;
pub mod docs;
mod fixed;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod load;
pub mod moving;
pub mod name;
pub mod near;
mod orchestrator;
pub mod overlay;
pub mod path;
pub mod pool;
pub mod quorum;
pub mod replacing;
mod report;
pub mod role;
pub mod running;
pub mod selector;
pub mod shape;
pub mod source;
pub mod state;

pub use check::secrets::is_file_name as is_secret_file;
pub use cluster::{
    Acme, ApiEndpoint, Cluster, Control, ControlBackend, CoreDns, DigitaloceanServer, DiskLayout, Dns, DnsProvider,
    Gate, GateTest, HetznerServer, KeptDisk, Labels, LoadBalancer, Network, Node, Objects, Operator, Overlay,
    OverlayBackend, Provider, Ssh, Vip,
};
pub use codes::{CODES, Code, CodeInfo, Severity, codes, explain};
pub use conflict::Conflict;
pub use diagnostic::{Diagnostic, Related};
pub use directory::Directory;
pub use fixed::{FixedAddress, FixedNetwork};
pub use load::{Loaded, load};
pub use moving::Move;
pub use name::NodeName;
pub use orchestrator::Orchestrator;
pub use overlay::OverlayPart;
pub use path::{AttrPath, Segment};
pub use pool::AddressRange;
pub use replacing::Replacement;
pub use role::Role;
pub use running::Running;
pub use selector::{SelectError, SelectErrorKind, Selection};
pub use state::{RecordedMachine, RecordedServer, RecordedState};
