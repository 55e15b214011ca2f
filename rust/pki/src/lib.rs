//! PKI of the cluster: the certificate table as data, the plan derived from it, and the issuing.
//!
//! The data flow, top to bottom:
//!
//! 1. [`table`] lists the certificates that the cluster needs ([`Table`]). Rows only; a new consumer adds rows.
//! 2. [`store::read`] reads the certificates' directory ([`Tree`]).
//! 3. [`plan()`] compares the two and decides what to keep, issue and renew, with reasons ([`Plan`]). Pure.
//! 4. [`issue`] generates keys and certificates. The clock, the serial number and the key are arguments.
//! 5. [`store::write`] puts them in place, atomically, private keys encrypted.
//!
//! [`rotation`] replaces an authority or a shared key pair in stages.
//!
//! [`survey`] is 1 to 3, [`update`] all of them. [`Inventory`] describes the existing certificates to the other crates,
//! [`report`] describes them to users.
//!
//! # The directory
//!
//! ```text
//! authorities/<authority>.pem  .key.age
//! nodes/<node>/<leaf>.pem      .key.age
//! nodes/<node>/ssh_host_ed25519_key.pub  .age
//! nodes/<node>/first_boot_ed25519_key.pub  .age   of a server until NixOS is installed
//! nodes/<node>/ssh_host_ed25519_key-cert.pub  authorities/ssh.pub  ...   see [`ssh`]
//! operators/<leaf>.pem         .key.age
//! shared/<key pair>.pub        .key.age
//! shared/<key pair>.next.key.age  .previous.key.age   while it is being rotated
//! rotations.json               while something is being rotated
//! ```
//!
//! It can be committed: private keys are ASCII-armored age files. All other files in it are foreign and left alone, but
//! an unencrypted private key anywhere below it is an error.
//!
//! # Absent on purpose
//!
//! No function replaces an authority at once: everything that trusts it would stop doing so. Only [`store`],
//! [`host_key`] and the stages of a rotation perform IO.

mod certificate;
pub mod control;
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
pub mod ssh;
pub mod store;
mod table;
mod tree;
mod update;
pub mod user;

pub use certificate::{Certificate, CertificateError};
pub use inventory::{CertificateEntry, ControlKeys, Inventory, InventoryError, NodeKey};
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
