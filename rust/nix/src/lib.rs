//! Typed interface of the `nix` command: programs with their arguments, parsed output and parsed errors.
//!
//! Works with Nix 2.8 and newer. Local flakes are always referred to by `git+file:` ([`FlakeRef`]): a `path:` reference
//! would copy git-ignored files, private keys among them, into the world-readable store.

mod build;
mod command;
mod environment;
mod error;
pub mod evaluate;
mod export;
mod fingerprint;
mod flake;
mod flake_lock;
mod info;
pub mod nar;
pub mod nesting;
pub mod pin;
mod platform;
mod process;
mod store;

pub use build::{Build, Built, FailedBuild, Planned, failed_builds};
pub use command::{Import, Nix, Override};
pub use environment::program;
pub use error::NixError;
pub use evaluate::{EvalError, Position};
pub use export::Export;
pub use fingerprint::{FingerprintError, Fingerprints, Known, KnownFile, KnownInput};
pub use flake::{FlakeError, FlakeRef};
pub use info::PathInfo;
pub use platform::{BuildConfig, RemoteBuilder};
pub use process::Watch;
pub use store::{StorePath, StorePathError};
