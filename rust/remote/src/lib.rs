//! SSH sessions to nodes: commands, uploads, tunnels, pinned host keys.
//!
//! [`Session`] is one SSH connection to one host, which carries everything for that host, including concurrent
//! commands. [`Remote`] is the interface for the other crates, so that tests can replace a host by a scripted
//! `FakeRemote` (feature `fake`). Start reading at [`Session::connect`] and [`Remote::run`].
//!
//! All calls block: from async code, call them inside `spawn_blocking`. The crate does not print, and does not decide
//! what to run on a host. Secrets never appear in argument lists: scripts and file contents are sent on standard input.

mod auth;
mod auth_attempt;
mod clean;
mod destination;
mod driver;
mod endpoint;
mod error;
#[cfg(feature = "fake")]
mod fake;
mod files;
mod fingerprint;
mod frame;
mod gate;
mod host_key;
mod identity;
mod known_hosts;
mod lanes;
mod link;
mod local;
mod proxy;
mod quote;
mod request;
mod resolved;
mod run;
mod session;
mod socket;
mod ssh_config;
mod text;
mod timeout;
mod tunnel;

pub use auth_attempt::{AuthAttempt, AuthOutcome};
pub use destination::Destination;
pub use endpoint::Endpoint;
pub use error::{ConnectFailure, RemoteError};
#[cfg(feature = "fake")]
pub use fake::{FakeRemote, Fault, PlacedFile, RecordedRequest};
pub use files::{DURABLE, RemoteDirectory, RemoteEntry, RemoteFile, put_file, put_files};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use known_hosts::{HostKey, KnownHosts, KnownHostsError, host_pattern};
pub use local::Local;
pub use quote::quote;
pub use request::{Output, Request, Status, Stdin, Stream};
pub use session::{Remote, Session};
pub use ssh_config::{SshConfig, SshConfigError};
pub use tunnel::{Tunnel, TunnelReader, TunnelWriter};
