//! Facts of each node as Nix text, through one typed writer. Pure: this crate reads and writes no files.
//!
//! [`facts`] computes a node's facts, [`nix`] prints them, [`tree`] decides which files of `generated/` change.

pub mod facts;
pub mod nix;
pub mod router;
pub mod tree;
