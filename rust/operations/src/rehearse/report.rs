//! Result of a rehearsal, and the problems that it shows. Pure.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use machinist_model::NodeName;
use machinist_rollout::deploy::{Outcome, Report};
use serde::Serialize;

use super::{
    figures::{Answers, Etcd, seconds},
    units::FailedUnit,
    watch::WaveTime,
};
use crate::failure::Kind;

/// Limits above which a figure counts as a failure.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest time without an acknowledged write to etcd, and without an answer of a URL.
    pub gap: Duration,
}

/// Result of a rehearsal.
#[derive(Clone, Debug, Serialize)]
pub struct Rehearsal {
    /// Commit that the machines started with.
    pub from: String,
    /// The deploy.
    pub deploy: Act,
    /// The rollback; absent if it was not requested, or the deploy had changed nothing.
    pub rollback: Option<Act>,
    /// Number of acknowledged writes that etcd does not have at the end; absent if there is no etcd.
    #[serde(rename = "lostWrites")]
    pub lost_writes: Option<usize>,
    /// Reasons why the deploy would fail; empty if it would work.
    pub problems: Vec<String>,
    /// Network namespace from which the kept machines are reached.
    pub kept: Option<PathBuf>,
}

/// The deploy or the rollback.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Act {
    /// Outcome of each node.
    pub nodes: BTreeMap<NodeName, Outcome>,
    /// Durations of the waves.
    pub waves: Vec<WaveTime>,
    /// Duration of the operation with its builds, in seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// Units that fail afterwards.
    pub units: Vec<FailedUnit>,
    /// Figures of etcd, from the begin of the operation to the end of the time for which it is watched.
    pub etcd: Option<Etcd>,
    /// Figures of the requested URLs.
    pub urls: BTreeMap<String, Answers>,
}

impl Rehearsal {
    /// Returns the kind of failure; `None` if the deploy would work.
    #[must_use]
    pub fn verdict(&self) -> Option<Kind> {
        (!self.problems.is_empty()).then_some(Kind::Failed)
    }
}

impl Act {
    /// Returns true if the operation changed a node.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.changed_nodes().next().is_some()
    }

    /// Returns the nodes that the operation changed, sorted.
    pub fn changed_nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().filter(|(_, outcome)| **outcome == Outcome::Changed).map(|(node, _)| node)
    }

    /// Returns the problems that the act shows, each in one line; `what` names the act.
    #[must_use]
    pub fn problems(&self, what: &str, limits: Limits) -> Vec<String> {
        let outcome = |(node, outcome): (&NodeName, &Outcome)| match outcome {
            Outcome::Changed | Outcome::Unchanged => None,
            Outcome::Failed { why, .. } => Some(format!("{node}: {what} failed: {why}")),
            Outcome::Refused { why } => Some(format!("{node}: {what} refused: {why}")),
            // The node that it waited for is named.
            Outcome::NotStarted { .. } | Outcome::Reverted { .. } => None,
        };
        let mut problems: Vec<String> = self.nodes.iter().filter_map(outcome).collect();
        problems.extend(self.units.iter().map(|unit| format!("{}: {} {}", unit.node, unit.unit, unit.why)));
        let too_long = |gap: Duration| gap > limits.gap;
        if let Some(etcd) = self.etcd.as_ref().filter(|etcd| too_long(etcd.writes.longest_gap)) {
            problems.push(format!(
                "etcd: no write was acknowledged for {:.1} s ({what}); the limit is {} s",
                etcd.writes.longest_gap.as_secs_f64(),
                limits.gap.as_secs()
            ));
        }
        problems.extend(self.urls.iter().filter(|(_, answers)| too_long(answers.longest_gap)).map(|(url, answers)| {
            let gap = answers.longest_gap.as_secs_f64();
            format!("{url}: no answer for {gap:.1} s ({what}); the limit is {} s", limits.gap.as_secs())
        }));
        problems
    }
}

/// Returns what a report says about the whole run, if that is a problem.
#[must_use]
pub fn of_report(report: &Report, what: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(etcd) = report.etcd.as_ref().filter(|etcd| !etcd.is_whole()) {
        let said = if etcd.problems.is_empty() { String::new() } else { format!(": {}", etcd.problems.join("; ")) };
        problems.push(match etcd.healthy {
            Some(healthy) => format!("etcd: {healthy} of {} members healthy after the {what}{said}", etcd.members),
            None => format!("etcd: no answer after the {what}{said}"),
        });
    }
    problems.extend(report.lost.iter().map(|why| format!("the {what} lost its locks: {why}")));
    problems
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::BTreeMap, time::Duration};

    use machinist_model::NodeName;
    use machinist_rollout::deploy::{EtcdEnd, Outcome, Report, Verdict};

    use super::{Act, Limits, Rehearsal, of_report};
    use crate::{
        failure::Kind,
        rehearse::{Answers, Etcd, FailedUnit},
    };

    const LIMITS: Limits = Limits { gap: Duration::from_secs(5) };

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn act(outcome: Outcome, gap: u64) -> Act {
        let answers = Answers { answered: 1, lost: 0, longest_gap: Duration::from_secs(gap) };
        Act {
            nodes: BTreeMap::from([(node("a"), outcome)]),
            etcd: Some(Etcd { writes: answers.clone(), ..Etcd::default() }),
            urls: BTreeMap::from([("http://x/".to_owned(), answers)]),
            ..Act::default()
        }
    }

    #[test]
    fn a_change_without_a_failure_or_a_long_gap_has_no_problem() {
        assert!(act(Outcome::Changed, 5).problems("deploy", LIMITS).is_empty());
        assert!(act(Outcome::Changed, 5).changed() && !act(Outcome::Unchanged, 5).changed());
    }

    #[test]
    fn failed_nodes_units_and_gaps_are_problems_and_nodes_that_only_waited_are_not() {
        let failed = Outcome::Failed { why: "units failed: x".to_owned(), verdict: Verdict::Reverted };
        let mut act = act(failed, 6);
        act.nodes.insert(node("b"), Outcome::NotStarted { why: "a failed".to_owned() });
        act.units.push(FailedUnit { node: node("c"), unit: "y.service".to_owned(), why: "failed (signal)".to_owned() });
        let problems = act.problems("deploy", LIMITS);
        assert_eq!(
            problems,
            [
                "a: deploy failed: units failed: x",
                "c: y.service failed (signal)",
                "etcd: no write was acknowledged for 6.0 s (deploy); the limit is 5 s",
                "http://x/: no answer for 6.0 s (deploy); the limit is 5 s",
            ]
        );
        let rehearsal =
            Rehearsal { from: String::new(), deploy: act, rollback: None, lost_writes: None, problems, kept: None };
        assert_eq!(rehearsal.verdict(), Some(Kind::Failed));
    }

    #[test]
    fn an_etcd_that_is_not_whole_at_the_end_is_a_problem() {
        let etcd = |healthy| EtcdEnd { members: 3, healthy, problems: Vec::new(), alarm: None, known: [].into() };
        let report = |healthy| Report { etcd: Some(etcd(healthy)), ..Report::default() };
        assert!(of_report(&report(Some(3)), "deploy").is_empty());
        assert_eq!(of_report(&report(Some(2)), "deploy"), ["etcd: 2 of 3 members healthy after the deploy"]);
        assert_eq!(of_report(&report(None), "rollback"), ["etcd: no answer after the rollback"]);
    }
}
