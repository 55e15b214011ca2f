//! The machinist command.
fn main() {}
