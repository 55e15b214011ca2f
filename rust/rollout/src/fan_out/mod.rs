//! Peer-to-peer copies between hosts, so that the operator's link carries each path about once.
//!
//! Paths that are missing on many hosts are cut into slices ([`slices`]); a host that has a slice serves it to the
//! others ([`schedule`]). A slice is the exact stream that the operator sent to the first host, and its digest reaches
//! every other host over that host's own connection to the operator, whose key is pinned. A host imports a slice only
//! if the digest matches: therefore no signing keys need to be kept or trusted, and a compromised source can only
//! refuse to serve. If a copy between two hosts fails, the operator sends the slice itself.

pub mod peers;
pub mod schedule;
pub mod slices;

use self::slices::Threshold;

/// Mode of peer-to-peer copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanOut {
    /// Peer-to-peer where it saves a large amount of data.
    #[default]
    Auto,
    /// Peer-to-peer for all paths that are missing on two or more hosts.
    Always,
    /// Each host receives everything from the operator.
    Never,
}

impl FanOut {
    /// Returns the threshold for peer-to-peer copies, `None` if they are disabled.
    #[must_use]
    pub const fn threshold(self) -> Option<Threshold> {
        match self {
            Self::Auto => Some(Threshold { hosts: 4, saved: 48 << 20, bytes: 1 << 20 }),
            Self::Always => Some(Threshold { hosts: 2, saved: 0, bytes: 0 }),
            Self::Never => None,
        }
    }
}
