//! What is recorded about the running cluster: `state/cluster.json`, written by `deploy`, committed by people.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::NodeName;

/// The recorded state of the cluster. Absent file means: nothing was bootstrapped yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedState {
    /// The format's version: 1.
    pub version: u32,
    /// What is recorded about etcd.
    #[serde(default)]
    pub etcd: EtcdState,
}

/// What is recorded about etcd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdState {
    /// Whether the members formed a quorum once. Never goes back to `false`: a member that comes back with an empty
    /// disk must join what exists (etcd issue 19307).
    pub bootstrapped: bool,
    /// The voting members as last seen, sorted by name.
    #[serde(default)]
    pub members: BTreeSet<NodeName>,
}

/// Why recorded state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The text is not of the format.
    #[error("state/cluster.json is not readable")]
    Format(#[source] serde_json::Error),
    /// A newer machinist wrote it.
    #[error("state/cluster.json has version {0}, this machinist reads version 1")]
    Version(u32),
}

impl RecordedState {
    /// The version that this machinist reads and writes.
    pub const VERSION: u32 = 1;

    /// Parses the text of `state/cluster.json`.
    ///
    /// # Errors
    /// The text is not of the format, or of another version.
    pub fn parse(text: &str) -> Result<Self, StateError> {
        let state: Self = serde_json::from_str(text).map_err(StateError::Format)?;
        if state.version == Self::VERSION { Ok(state) } else { Err(StateError::Version(state.version)) }
    }

    /// Returns the text of `state/cluster.json`: two spaces, sorted, final newline.
    #[must_use]
    pub fn to_text(&self) -> String {
        let current = Self { version: Self::VERSION, ..self.clone() };
        let mut text = serde_json::to_string_pretty(&current).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{EtcdState, RecordedState, StateError};
    use crate::NodeName;

    #[test]
    fn what_is_written_is_read_back() {
        let state = RecordedState {
            version: 1,
            etcd: EtcdState { bootstrapped: true, members: [NodeName::parse("a").unwrap()].into() },
        };
        assert_eq!(RecordedState::parse(&state.to_text()).unwrap(), state);
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let error = RecordedState::parse(r#"{"version":2}"#).unwrap_err();
        assert!(matches!(error, StateError::Version(2)), "{error}");
    }
}
