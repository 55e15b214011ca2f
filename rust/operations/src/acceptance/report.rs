//! Result of a test. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_model::NodeName;
use machinist_text::{bounded, one_line};
use serde::Serialize;

/// Maximum length of a problem's text, in bytes: part of it may be a host's output.
const LONGEST: usize = 1000;

/// Result of a test.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name of the cluster.
    pub cluster: String,
    /// All checks, in their order.
    pub checks: Vec<Check>,
    /// Duration of all checks, in seconds.
    pub seconds: f64,
    /// True if the operator interrupted the test.
    pub interrupted: bool,
}

/// Verdict of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// At least one check passed, and none failed.
    Passed,
    /// A check failed.
    Failed,
    /// No node answered, nothing was checked, or the test was interrupted.
    NotRun,
}

/// Result of a check.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Name, the same in all versions.
    pub name: &'static str,
    /// The behaviour that it proves.
    pub proves: &'static str,
    /// Nodes that were checked, sorted.
    pub nodes: BTreeSet<NodeName>,
    /// Duration, in seconds.
    pub seconds: f64,
    /// Its outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Outcome of a check.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// All that was checked is as it has to be.
    Passed {
        /// What was left out, and other remarks.
        notes: Vec<String>,
    },
    /// Something is not.
    Failed {
        /// Each problem; at least one.
        problems: Vec<Problem>,
        /// What was left out, and other remarks.
        notes: Vec<String>,
    },
    /// Nothing was checked.
    Skipped {
        /// The reason.
        why: String,
    },
}

/// A problem that a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name of the node; null for a problem of the cluster.
    pub node: Option<NodeName>,
    /// Description, without the node's name, on one line.
    pub why: String,
    /// Hint for a fix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// Returns a problem of a node.
    pub(super) fn on(node: &NodeName, why: impl AsRef<str>) -> Self {
        Self { node: Some(node.clone()), ..Self::of_cluster(why) }
    }

    /// Returns a problem of the cluster.
    pub(super) fn of_cluster(why: impl AsRef<str>) -> Self {
        Self { node: None, why: bounded(&one_line(why.as_ref()), LONGEST).into_owned(), hint: None }
    }

    /// Adds a hint, if one is known.
    pub(super) fn hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

impl Report {
    /// Returns the verdict. A test in which nothing was checked has not passed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let count = |wanted: fn(&Outcome) -> bool| self.checks.iter().filter(|check| wanted(&check.outcome)).count();
        let passed = count(|outcome| matches!(outcome, Outcome::Passed { .. }));
        let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
        if self.interrupted || passed == 0 {
            return Verdict::NotRun;
        }
        if failed > 0 { Verdict::Failed } else { Verdict::Passed }
    }

    /// Returns the numbers of checks that passed, failed and were skipped.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        self.checks.iter().fold((0, 0, 0), |(passed, failed, skipped), check| match check.outcome {
            Outcome::Passed { .. } => (passed + 1, failed, skipped),
            Outcome::Failed { .. } => (passed, failed + 1, skipped),
            Outcome::Skipped { .. } => (passed, failed, skipped + 1),
        })
    }
}

/// What a check found, before its end.
#[derive(Debug, Default)]
pub(super) struct Finding {
    /// Nodes that were checked.
    pub nodes: BTreeSet<NodeName>,
    /// Problems.
    pub problems: Vec<Problem>,
    /// What was left out, and other remarks.
    pub notes: Vec<String>,
    skipped: Option<String>,
}

impl Finding {
    /// Returns the finding of a check that does not apply here.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::default() }
    }

    /// Returns a finding about these nodes, without problems yet.
    pub fn about(nodes: impl IntoIterator<Item = NodeName>) -> Self {
        Self { nodes: nodes.into_iter().collect(), ..Self::default() }
    }

    /// Adds a problem.
    pub fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Returns the nodes and the outcome. A finding about nothing is none.
    pub fn end(self) -> (BTreeSet<NodeName>, Outcome) {
        let Self { nodes, problems, notes, skipped } = self;
        let outcome = match skipped {
            Some(why) => Outcome::Skipped { why },
            None if !problems.is_empty() => Outcome::Failed { problems, notes },
            None if nodes.is_empty() => {
                let why = if notes.is_empty() { "there is nothing to check".to_owned() } else { notes.join("; ") };
                Outcome::Skipped { why }
            }
            None => Outcome::Passed { notes },
        };
        (nodes, outcome)
    }
}

/// Nodes on which earlier checks failed.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<&'static str, BTreeSet<NodeName>>);

impl Earlier {
    /// Records the nodes with problems of a check.
    pub fn note(&mut self, check: &'static str, problems: &[Problem]) {
        self.0.entry(check).or_default().extend(problems.iter().filter_map(|problem| problem.node.clone()));
    }

    /// Returns true if the check failed on the node.
    pub fn has(&self, check: &str, node: &NodeName) -> bool {
        self.0.get(check).is_some_and(|nodes| nodes.contains(node))
    }

    /// Returns the finding about those of the nodes on which none of the checks failed. It names the others.
    pub fn without(&self, checks: &[&'static str], nodes: impl IntoIterator<Item = NodeName>) -> Finding {
        let mut finding = Finding::default();
        for node in nodes {
            match checks.iter().find(|check| self.has(check, &node)) {
                Some(check) => finding.notes.push(format!("without {node}: {check} failed there")),
                None => drop(finding.nodes.insert(node)),
            }
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::{Check, Earlier, Finding, Outcome, Problem, Report, Verdict};

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn report(findings: Vec<Finding>, interrupted: bool) -> Report {
        let checks = findings.into_iter().map(|finding| {
            let (nodes, outcome) = finding.end();
            Check { name: "x", proves: "y", nodes, seconds: 0.0, outcome }
        });
        Report { cluster: "c".to_owned(), checks: checks.collect(), seconds: 0.0, interrupted }
    }

    fn failed() -> Finding {
        Finding { problems: vec![Problem::on(&node("a"), "no answer")], ..Finding::about([node("a")]) }
    }

    #[test]
    fn a_test_in_which_nothing_was_checked_has_not_passed() {
        let nothing = || Finding::skipped("no such role");
        assert_eq!(report(Vec::new(), false).verdict(), Verdict::NotRun);
        assert_eq!(report(vec![nothing(), nothing()], false).verdict(), Verdict::NotRun);
        assert_eq!(report(vec![Finding::default()], false).verdict(), Verdict::NotRun, "about no node");
        assert_eq!(report(vec![failed(), nothing()], false).verdict(), Verdict::NotRun, "no node answered");
    }

    #[test]
    fn one_failed_check_fails_the_test() {
        let passed = || Finding::about([node("a")]);
        assert_eq!(report(vec![passed(), Finding::skipped("x")], false).verdict(), Verdict::Passed);
        assert_eq!(report(vec![passed(), failed()], false).verdict(), Verdict::Failed);
        assert_eq!(report(vec![passed()], true).verdict(), Verdict::NotRun, "interrupted");
        assert_eq!(report(vec![passed(), failed(), Finding::skipped("x")], false).counts(), (1, 1, 1));
    }

    #[test]
    fn a_check_leaves_out_nodes_where_an_earlier_one_failed_and_says_so() {
        let mut earlier = Earlier::default();
        earlier.note("reachable", &failed().problems);
        let finding = earlier.without(&["reachable"], [node("a"), node("b")]);
        assert_eq!((finding.nodes.len(), finding.notes), (1, vec!["without a: reachable failed there".to_owned()]));
        let (_, outcome) = earlier.without(&["reachable"], [node("a")]).end();
        assert_eq!(outcome, Outcome::Skipped { why: "without a: reachable failed there".to_owned() });
    }

    #[test]
    fn what_a_host_prints_is_one_bounded_line() {
        let problem = Problem::on(&node("a"), "x\n\u{1b}[31m".to_owned() + &"y".repeat(5000));
        assert!(!problem.why.contains(['\n', '\u{1b}']) && problem.why.len() < 1100, "{}", problem.why.len());
    }
}
