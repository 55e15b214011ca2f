//! Facts of each node as Nix text, through one typed writer.
