//! Facts of each node as Nix text, through one typed writer. Pure: this crate reads and writes no files.
//!
//! [`facts`] says what a node is told, [`nix`] prints it, [`tree`] says which files of `generated/` change.

pub mod facts;
pub mod nix;
pub mod router;
pub mod tree;
