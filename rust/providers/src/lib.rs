//! Where machines come from: the sandbox on this computer, and machines of one's own.

pub mod sandbox;
