//! Kubernetes versions that may run beside each other, and the steps of an upgrade. Pure.
//!
//! Kubernetes' version skew policy: API servers are one minor version apart at most, and never skip one; a kubelet is never
//! newer than an API server, and at most three minor versions older. The components of one control plane talk to the API
//! server beside them, so they change together. Workers change after the control planes in every run.

use std::{collections::BTreeMap, fmt};

use machinist_model::NodeName;
use serde::{Serialize, Serializer};

use crate::problem::{Problem, ProblemKind};

/// Maximum number of minor versions by which a kubelet may be older than an API server.
const KUBELET_BEHIND: u32 = 3;

/// A minor version, such as 1.36.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Parses `1.36.3` or `v1.36`; everything after the minor version is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let mut number = || parts.next()?.parse().ok();
        Some(Self { major: number()?, minor: number()? })
    }

    /// Returns the version that is newer by this many minor versions.
    const fn up(self, minors: u32) -> Self {
        Self { minor: self.minor.saturating_add(minors), ..self }
    }

    /// Returns true if the two may be API servers of one cluster.
    const fn is_beside(self, other: Self) -> bool {
        self.major == other.major && self.minor.abs_diff(other.minor) <= 1
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One node's Kubernetes version before and after a deploy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// True if an API server runs there.
    pub control_plane: bool,
    /// The running version. None if Kubernetes does not run there, or the version is unknown.
    pub running: Option<Version>,
    /// The version after the deploy. The same for a node that the deploy leaves alone.
    pub after: Option<Version>,
}

impl Change {
    fn changes(&self) -> bool {
        self.after.is_some() && self.after != self.running
    }
}

/// Returns the violations of the policy, over all nodes of the cluster. Empty if no version changes.
#[must_use]
pub fn skew_problems(nodes: &BTreeMap<NodeName, Change>) -> Vec<Problem> {
    let planes: BTreeMap<&NodeName, &Change> = nodes.iter().filter(|(_, change)| change.control_plane).collect();
    let mut problems = Vec::new();
    for (node, change) in nodes {
        let Some(after) = change.after else { continue };
        match (change.control_plane, change.changes()) {
            (true, true) => {
                problems.extend(own_step(node, change.running, after));
                problems.extend(beside(node, after, &planes));
            }
            (false, changes) if changes || planes.values().any(|plane| plane.changes()) => {
                problems.extend(kubelet(node, change, &planes));
            }
            _ => {}
        }
    }
    problems
}

fn problem(node: &NodeName, refuses: bool, text: String, hint: String) -> Problem {
    Problem { node: node.clone(), kind: ProblemKind::Skew, refuses, text, hint: Some(hint) }
}

/// Checks the step of one control plane on its own.
fn own_step(node: &NodeName, running: Option<Version>, after: Version) -> Option<Problem> {
    let running = running?;
    if after < running {
        let text = format!("its API server would go back from Kubernetes {running} to {after}");
        let hint = "an older API server need not understand what a newer one wrote to etcd; have a snapshot: \
                    `machinist etcd snapshot FILE`";
        return Some(problem(node, !after.is_beside(running), text, hint.to_owned()));
    }
    (!after.is_beside(running)).then(|| {
        let text = format!("its API server would go from Kubernetes {running} to {after} in one step");
        problem(node, true, text, steps(running.up(1)))
    })
}

/// Hint for an upgrade in steps of one minor version.
fn steps(first: Version) -> String {
    format!(
        "one minor version at a time, all control planes each time: deploy {first} first (the nixpkgs release that has it, or \
         services.kubernetes.package)"
    )
}

/// Checks a control plane against each other one, both before and after that one's own turn.
fn beside(node: &NodeName, after: Version, planes: &BTreeMap<&NodeName, &Change>) -> Option<Problem> {
    let versions = planes.iter().filter(|(other, _)| **other != node);
    let mut versions = versions.flat_map(|(other, plane)| [plane.running, plane.after].map(|version| (other, version)));
    let (other, version) = versions.find_map(|(other, version)| {
        let version = version.filter(|version| !after.is_beside(*version))?;
        Some((other, version))
    })?;
    let text = format!("its API server would be Kubernetes {after} beside {version} of {other}");
    Some(problem(node, true, text, steps(version.min(after).up(1))))
}

/// Checks a kubelet against the API servers, which change before it does.
fn kubelet(node: &NodeName, change: &Change, planes: &BTreeMap<&NodeName, &Change>) -> Option<Problem> {
    let after = change.after?;
    let servers = planes.iter().filter_map(|(plane, change)| Some((change.after?, *plane)));
    let (oldest, newest) = (servers.clone().min()?, servers.max()?);
    if after > oldest.0 {
        let text =
            format!("its kubelet would be Kubernetes {after}, newer than the API server {} of {}", oldest.0, oldest.1);
        return Some(problem(node, true, text, format!("control planes first: `machinist deploy {}`", oldest.1)));
    }
    let until_then = change.running.map_or(after, |running| running.min(after));
    (until_then.up(KUBELET_BEHIND) < newest.0).then(|| {
        let text = format!(
            "its kubelet {until_then} would be more than {KUBELET_BEHIND} minor versions older than the API server {} of {}",
            newest.0, newest.1
        );
        problem(node, true, text, format!("bring it nearer first: `machinist deploy {node}` with the version before"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::BTreeMap;

    use expect_test::{Expect, expect};
    use machinist_model::NodeName;

    use super::{Change, Version, skew_problems};

    /// Nodes as `name running after`, with `-` for none; names that begin with `cp` are control planes.
    #[track_caller]
    fn check(nodes: &[&str], expect: &Expect) {
        let node = |text: &&str| {
            let words: Vec<&str> = text.split(' ').collect();
            let [name, running, after] = words[..] else { panic!("{text}") };
            let change = Change {
                control_plane: name.starts_with("cp"),
                running: Version::parse(running),
                after: Version::parse(after),
            };
            (NodeName::parse(name).unwrap(), change)
        };
        let problems = skew_problems(&nodes.iter().map(node).collect::<BTreeMap<_, _>>());
        let show = |problem: super::Problem| {
            format!("{} {}: {}", if problem.refuses { "refuses" } else { "warns" }, problem.node, problem.text)
        };
        expect.assert_eq(&problems.into_iter().map(show).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_first_deploy_and_one_that_changes_no_version_have_nothing_to_judge() {
        check(&["cp1 - 1.36.3", "cp2 - 1.36.3", "w1 - 1.36.3"], &expect![""]);
        check(&["cp1 1.36.1 1.36.3", "cp2 1.36.1 1.36.1", "w1 1.30 1.30"], &expect![""]);
        check(&["a - -", "b - -"], &expect![""]);
    }

    #[test]
    fn one_minor_version_at_a_time_is_let_through_in_parts_too() {
        check(&["cp1 1.35 1.36", "cp2 1.35 1.36", "w1 1.35 1.36"], &expect![""]);
        check(&["cp1 1.35 1.36", "cp2 1.35 1.35", "w1 1.35 1.35"], &expect![""]);
        check(&["cp1 1.36 1.36", "cp2 1.35 1.36"], &expect![""]);
    }

    #[test]
    fn a_skipped_minor_version_is_refused() {
        check(
            &["cp1 1.34 1.36", "cp2 1.34 1.36"],
            &expect![[r#"
                refuses cp1: its API server would go from Kubernetes 1.34 to 1.36 in one step
                refuses cp1: its API server would be Kubernetes 1.36 beside 1.34 of cp2
                refuses cp2: its API server would go from Kubernetes 1.34 to 1.36 in one step
                refuses cp2: its API server would be Kubernetes 1.36 beside 1.34 of cp1"#]],
        );
    }

    #[test]
    fn a_control_plane_that_the_deploy_leaves_alone_counts() {
        check(
            &["cp1 1.35 1.36", "cp2 1.34 1.34"],
            &expect!["refuses cp1: its API server would be Kubernetes 1.36 beside 1.34 of cp2"],
        );
        check(
            &["cp1 - 1.36", "cp2 1.34 1.34"],
            &expect!["refuses cp1: its API server would be Kubernetes 1.36 beside 1.34 of cp2"],
        );
    }

    #[test]
    fn going_back_one_is_warned_of_and_two_are_refused() {
        check(
            &["cp1 1.36 1.35", "cp2 1.36 1.36"],
            &expect!["warns cp1: its API server would go back from Kubernetes 1.36 to 1.35"],
        );
        check(&["cp1 1.36 1.34"], &expect!["refuses cp1: its API server would go back from Kubernetes 1.36 to 1.34"]);
    }

    #[test]
    fn a_kubelet_never_leads() {
        check(
            &["cp1 1.35 1.35", "cp2 1.36 1.36", "w1 1.35 1.36"],
            &expect!["refuses w1: its kubelet would be Kubernetes 1.36, newer than the API server 1.35 of cp1"],
        );
        check(&["cp1 1.35 1.36", "cp2 1.36 1.36", "w1 1.35 1.36"], &expect![""]);
    }

    #[test]
    fn a_kubelet_lags_by_three_minor_versions_at_most() {
        check(&["cp1 1.35 1.36", "w1 1.33 1.33"], &expect![""]);
        check(
            &["cp1 1.35 1.36", "w1 1.32 1.32", "w2 1.32 1.36"],
            &expect![[r#"
                refuses w1: its kubelet 1.32 would be more than 3 minor versions older than the API server 1.36 of cp1
                refuses w2: its kubelet 1.32 would be more than 3 minor versions older than the API server 1.36 of cp1"#]],
        );
    }

    #[test]
    fn a_version_is_its_first_two_numbers() {
        for text in ["1.36.3", "v1.36", "1.36.0-rc.1\n"] {
            assert_eq!(Version::parse(text).unwrap().to_string(), "1.36", "{text}");
        }
        for text in ["", "1", "1.x", "-", "v"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(Version::parse("1.9") < Version::parse("1.10"));
    }
}
