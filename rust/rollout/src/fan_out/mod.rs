//! Copies that hosts hand on to each other, so that the operator's link carries each path about once.
//!
//! What many hosts lack is cut into slices ([`slices`]); a host that has a slice serves it to the others ([`schedule`]).
//! A slice is the very stream that the operator sent to the first host, and its digest reaches every other host over
//! that host's own connection to the operator, whose key is pinned. A host imports nothing that has another digest: so no
//! key signs anything, none has to be kept or trusted, and a source that was tampered with can only refuse to serve.
//! Whatever goes wrong between two hosts, the operator sends the slice itself.

pub mod peers;
pub mod schedule;
pub mod slices;

use self::slices::Threshold;

/// Whether hosts hand on what they got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanOut {
    /// Where it saves much.
    #[default]
    Auto,
    /// Wherever two hosts lack the same.
    Always,
    /// Nowhere: each host gets everything from the operator.
    Never,
}

impl FanOut {
    /// From where on hosts hand things on. `None`: never.
    #[must_use]
    pub const fn threshold(self) -> Option<Threshold> {
        match self {
            Self::Auto => Some(Threshold { hosts: 4, saved: 48 << 20, bytes: 1 << 20 }),
            Self::Always => Some(Threshold { hosts: 2, saved: 0, bytes: 0 }),
            Self::Never => None,
        }
    }
}
