//! Replacement of a node's machine by a new one while its cluster runs, as recorded in `state/cluster.json`. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cluster, NodeName};

/// An unfinished replacement. Its operator agreed to it before it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Replacement {
    /// Name of the node.
    pub node: NodeName,
    /// The step that is under way.
    pub step: Step,
    /// Type of the new server, if it is not that of machines.nix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_type: Option<String>,
    /// Location of the new server, if it is not that of machines.nix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// Step of a replacement, in their order. Each one can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The lost member leaves etcd.
    Leave,
    /// The old server is deleted; its host key, certificates and Node object end.
    Discard,
    /// The new server is created at the provider.
    Create,
    /// NixOS is installed on the new machine.
    Install,
    /// The node is deployed, and joins etcd.
    Join,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 5] = [Self::Leave, Self::Discard, Self::Create, Self::Install, Self::Join];

    /// Returns the name that the record has.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Discard => "discard",
            Self::Create => "create",
            Self::Install => "install",
            Self::Join => "join",
        }
    }

    /// Returns the step after this one; `None` after the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Leave => Some(Self::Discard),
            Self::Discard => Some(Self::Create),
            Self::Create => Some(Self::Install),
            Self::Install => Some(Self::Join),
            Self::Join => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Replacement {
    /// Gives the node of the cluster the type and location that were chosen for its new server.
    pub fn apply(&self, cluster: &mut Cluster) {
        let Some(server) = cluster.nodes.get_mut(&self.node).and_then(|node| node.hetzner.as_mut()) else { return };
        if let Some(server_type) = &self.server_type {
            server.server_type.clone_from(server_type);
        }
        if let Some(location) = &self.location {
            server.location.clone_from(location);
        }
    }

    /// Returns the commands that finish it.
    #[must_use]
    pub fn continuation(&self) -> String {
        let node = &self.node;
        format!(
            "`machinist node replace {node}` continues; without {node} in machines.nix `machinist node remove {node}` ends it"
        )
    }
}

impl fmt::Display for Replacement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the machine of {} is being replaced (step {})", self.node, self.step)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Replacement, Step};
    use crate::{NodeName, RecordedState, fixtures};

    #[test]
    fn the_steps_follow_each_other_and_the_record_keeps_the_one_under_way() {
        let mut step = Step::Leave;
        let mut seen = vec![step];
        while let Some(next) = step.next() {
            step = next;
            seen.push(step);
        }
        assert_eq!(seen, Step::ALL);
        let node = NodeName::parse("casper").unwrap();
        let replacing = Replacement { node, step: Step::Create, server_type: Some("cx33".to_owned()), location: None };
        let state = RecordedState { version: 1, replacing: Some(replacing), ..RecordedState::default() };
        let text = state.to_text();
        assert!(text.contains(r#""step": "create""#) && text.contains(r#""serverType": "cx33""#), "{text}");
        assert_eq!(RecordedState::parse(&text).unwrap(), state);
    }

    #[test]
    fn a_machine_that_is_no_server_of_a_cloud_keeps_its_settings() {
        let mut cluster = fixtures::three_member_etcd();
        let before = cluster.clone();
        let node = cluster.nodes.keys().next().unwrap().clone();
        let location = Some("fsn1".to_owned());
        Replacement { node, step: Step::Create, server_type: None, location }.apply(&mut cluster);
        assert_eq!(cluster, before);
    }
}
