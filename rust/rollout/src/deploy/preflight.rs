//! Inspection of all nodes before the first one is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use machinist_model::NodeName;
use tokio::task::JoinSet;

use super::{
    host::{Host, Hosts},
    run::{Deploy, DeployError},
};
use crate::{
    EventKind,
    boot_once::{self, Refusal},
    lock::moment,
    outcome::{Outcome, Report},
    preflight::{Candidate, find_problems},
    problem::{Problem, ProblemKind},
    step::{
        StepError,
        copy::{self, Catalog, Delta},
        room::boot_bytes,
    },
};

/// The missing paths of each host.
pub(super) type Deltas = BTreeMap<NodeName, Arc<Delta>>;

/// Free bytes that a store's database needs in order to be opened, a generous estimate.
const LEAST_ROOM: u64 = 1 << 20;

impl Deploy {
    /// Queries all hosts at once for their missing paths, without changing anything.
    pub(super) async fn survey(
        self: &Arc<Self>,
        hosts: &Hosts,
        changing: &BTreeSet<NodeName>,
        report: &mut Report,
    ) -> Result<Deltas, DeployError> {
        let mut tasks = JoinSet::new();
        let hosts: Vec<&Arc<Host>> = changing.iter().filter_map(|node| hosts.get(node)).collect();
        let catalog = if self.request.from_host {
            Arc::default()
        } else {
            let systems = hosts.iter().map(|host| host.target.system.clone()).collect();
            Arc::new(Catalog::read(&self.context.nix, &systems)?)
        };
        for host in hosts {
            let (this, host, catalog) = (Arc::clone(self), Arc::clone(host), Arc::clone(&catalog));
            tasks.spawn_blocking(move || {
                let system = &host.target.system;
                let delta = if this.request.from_host {
                    copy::require(&*host.remote, system).map(|()| Delta::default())
                } else {
                    copy::delta(&*host.remote, &catalog.closure(system))
                };
                (host.target.node.clone(), delta.map_err(|error| full_store(host.facts.store_free, error)))
            });
        }
        let mut deltas = Deltas::new();
        for (node, delta) in tasks.join_all().await {
            match delta {
                Ok(delta) => drop(deltas.insert(node, Arc::new(delta))),
                Err(error) => self.fail(report, &node, &error),
            }
        }
        Ok(deltas)
    }

    /// Reports all problems of all hosts. Returns false if the run must not begin.
    pub(super) fn preflight(
        &self,
        hosts: &Hosts,
        deltas: &Deltas,
        version_skew: Vec<Problem>,
        report: &mut Report,
    ) -> bool {
        let known = deltas.iter().filter_map(|(node, delta)| Some((hosts.get(node)?, delta)));
        let problems: Vec<Problem> =
            known.flat_map(|(host, delta)| self.problems(host, delta)).chain(version_skew).collect();
        let mut refused: BTreeMap<NodeName, Vec<&str>> = BTreeMap::new();
        for Problem { node, refuses, text, hint, .. } in &problems {
            let kind = if *refuses {
                refused.entry(node.clone()).or_default().push(text);
                EventKind::Failed { text: text.clone(), hint: hint.clone() }
            } else {
                EventKind::Note { text: format!("careful: {text}") }
            };
            self.context.events.node(node, kind);
        }
        let may_begin = refused.is_empty();
        if !may_begin {
            let why = "another node is not ready, so nothing was changed".to_owned();
            let outcome = |node: &NodeName| match refused.get(node) {
                Some(texts) => Outcome::Refused { why: texts.join("; ") },
                None => Outcome::NotStarted { why: why.clone() },
            };
            report.nodes.extend(deltas.keys().map(|node| (node.clone(), outcome(node))));
        }
        report.preflight = problems;
        may_begin
    }

    fn problems(&self, host: &Host, delta: &Delta) -> Vec<Problem> {
        let node = &host.target.node;
        let candidate = Candidate {
            node,
            facts: &host.facts,
            platform: self.topology().traits.get(node).map_or("", |traits| &traits.platform),
            system: &host.target.system,
            store_needed: if delta.paths.is_empty() { 0 } else { copy::room_for(delta) },
            boot_needed: boot_bytes(&host.target.system, &host.facts, delta),
            run: &self.context.locks.claimant().run,
            is_ours: self.context.locks.has(node),
            moment: moment(&host.facts, &host.facts.lock),
        };
        let mut problems = find_problems(&candidate, self.policy.accept_drift);
        let refusal = boot_once::refusal(&host.boots_for, self.policy.spread.reboots, host.loader.as_ref());
        problems.extend(refusal.map(|Refusal { text, hint }| Problem {
            node: node.clone(),
            kind: ProblemKind::Reboot,
            refuses: true,
            text,
            hint: Some(hint),
        }));
        problems
    }
}

/// Replaces the error of a full store. It cannot even be queried: its database is written when it is opened, which
/// fails with "disk I/O error".
fn full_store(free: Option<u64>, error: StepError) -> StepError {
    match free {
        Some(free) if free < LEAST_ROOM => StepError::Full { free, needed: LEAST_ROOM },
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_asked_because_it_is_full_is_told_as_full() {
        let why = |free| full_store(free, StepError::Gate("disk I/O error".to_owned())).to_string();
        assert_eq!(why(Some(0)), "/nix/store has 0 MiB free, the system needs 1 MiB");
        assert_eq!(why(Some(LEAST_ROOM)), "gate closed: disk I/O error");
        assert_eq!(why(None), "gate closed: disk I/O error");
    }
}
