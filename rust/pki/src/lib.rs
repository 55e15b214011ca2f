//! The cluster's PKI: the certificate table as data, the plan for it, and its issue.
//!
//! The path of the data, top to bottom:
//!
//! 1. [`table`] says which certificates the cluster needs ([`Table`]). Rows only; a new consumer adds rows.
//! 2. [`store::read`] reads the certificates' directory ([`Tree`]).
//! 3. [`plan()`] compares the two and says what to keep, issue and renew, and why ([`Plan`]). Pure.
//! 4. [`issue`] makes keys and certificates. The clock, the serial number and the key are arguments.
//! 5. [`store::write`] puts them in place, atomically, private keys encrypted.
//!
//! [`rotation`] replaces an authority or a shared key pair in stages.
//!
//! [`survey`] is 1 to 3, [`update`] is all of it. [`Inventory`] is what the rest of the program needs to know about
//! certificates that exist, [`report`] what a person wants to know.
//!
//! # The directory
//!
//! ```text
//! authorities/<authority>.pem  .key.age
//! nodes/<node>/<leaf>.pem      .key.age
//! nodes/<node>/ssh_host_ed25519_key.pub  .age
//! operators/<leaf>.pem         .key.age
//! shared/<key pair>.pub        .key.age
//! shared/<key pair>.next.key.age  .previous.key.age   while it is being rotated
//! rotations.json               while something is being rotated
//! ```
//!
//! It can be committed: private keys are ASCII-armored age files. Everything else in there is somebody else's and is left
//! alone, but a private key in the clear anywhere below it is an error.
//!
//! # Absent on purpose
//!
//! Nothing here replaces an authority at once: what trusts it would stop to. Only [`store`], [`host_key`] and the stages of
//! a rotation do IO.

mod certificate;
pub mod encryption;
pub mod host_key;
mod inventory;
pub mod issue;
mod key;
mod plan;
mod problem;
pub mod report;
pub mod rotation;
mod spec;
pub mod store;
mod table;
mod tree;
mod update;
pub mod user;

pub use certificate::{Certificate, CertificateError};
pub use inventory::{CertificateEntry, Inventory, InventoryError, NodeKey};
pub use key::{KeyAlgorithm, KeyError, KeyId, PrivateKey, UnknownAlgorithm, token};
pub use plan::{Action, Plan, Policy, Reason, Renewal, Step, plan};
pub use problem::{Notice, Problem};
pub use spec::{
    Authority, AuthoritySpec, CertificateSpec, ExtendedUsage, Files, Holder, KeyPairSpec, KeyUsage, KeyUse, Owner, San,
    Table,
};
pub use table::{BGP_PASSWORD, table};
pub use tree::{Entry, Tree};
pub use update::{Survey, UpdateError, survey, update};

/// The name of the certificates' directory inside a cluster's directory.
pub const CERTS: &str = "certs";
