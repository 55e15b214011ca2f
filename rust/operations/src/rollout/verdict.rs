//! Verdict on a rollout's report.

use machinist_rollout::deploy::{Outcome, Report};

use crate::failure::Kind;

/// Returns the report's kind of failure; `None` if all nodes run their intended system.
#[must_use]
pub fn verdict(report: &Report) -> Option<Kind> {
    let any = |wanted: fn(&Outcome) -> bool| report.nodes.values().any(wanted);
    let went_wrong = any(|outcome| matches!(outcome, Outcome::Failed { .. } | Outcome::Reverted { .. }));
    if went_wrong || report.interrupted || report.lost.is_some() {
        Some(Kind::Failed)
    } else if any(|outcome| matches!(outcome, Outcome::Refused { .. } | Outcome::NotStarted { .. })) {
        Some(Kind::Refused)
    } else if report.etcd.as_ref().is_some_and(|etcd| !etcd.is_whole()) {
        Some(Kind::Failed)
    } else {
        None
    }
}
