//! Files in the format of [sops](https://getsops.io): YAML, JSON, dotenv, INI and binary.
//!
//! A file is never printed again from a tree. It is read as [`layout::Layout`], the places of its values, and an edit
//! replaces bytes at these places: comments, order and formatting stay, and a change is a change of its own lines, of the
//! checksum and of the time. What cannot be kept that way is refused with its line.
//!
//! - [`Document`]: a file as it is stored. [`Document::data_key`] recovers its data key with the caller's unwrapper, and
//!   [`Document::open`] decrypts it and verifies its checksum.
//! - [`Opened`]: a verified file, its values, and new versions of the file's text.
//! - [`create`]: a new file of a plain text.
//!
//! The data key is wrapped and unwrapped by the caller, so this crate has no identities, and does no IO.

mod comments;
mod document;
mod dotenv;
mod format;
mod ini;
mod json;
pub mod layout;
mod metadata;
pub mod read;
mod rules;
mod shamir;
pub mod value;
mod yaml;

pub use document::{Document, Opened, SopsError, create, whole_file};
pub use format::Format;
pub use layout::Step;
pub use metadata::{Metadata, Slot};
pub use rules::{Rule, RuleError};
