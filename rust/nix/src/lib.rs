//! The nix command as values: evaluation, build, closures.
