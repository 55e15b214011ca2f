//! End of a deploy: what is recorded of the cluster, and what its orchestrator needs once the machines have changed.

use std::time::Instant;

use machinist_kubernetes::desired::Desired;
use machinist_model::{Cluster, Orchestrator, RecordedState};
use machinist_rollout::deploy::{Outcome, Report};

use super::{run::Run, verdict::verdict};
use crate::{failure::Failure, kubernetes::objects, locks, mesh, project::Project};

/// The end of a deploy, by orchestrator.
pub enum End {
    /// Machines with etcd or without: only records.
    Machines,
    /// The objects in Kubernetes are applied. `None` leaves them as they are.
    Kubernetes(Option<Desired>),
    /// Servers of k3s that have joined are recorded as members of etcd.
    K3s,
    /// Permissions in etcd that no node needs any more are revoked.
    Mesh,
}

impl End {
    /// Returns the end that a deploy of this cluster will have. Manifests are read now, before anything is changed anywhere.
    ///
    /// # Errors
    /// A manifest cannot be read.
    pub fn of(project: &Project, cluster: &Cluster, with_objects: bool) -> Result<Self, Failure> {
        Ok(match cluster.orchestrator {
            None => Self::Machines,
            Some(Orchestrator::Kubernetes) if with_objects => Self::Kubernetes(objects::desired(project, cluster)?),
            Some(Orchestrator::Kubernetes) => Self::Kubernetes(None),
            Some(Orchestrator::K3s) => Self::K3s,
            Some(Orchestrator::Mesh) => Self::Mesh,
        })
    }

    /// Records the members of etcd after a pass: all with the first quorum, and servers of k3s as they join. True if the nodes need
    /// another pass: their systems still say that the cluster is new, so that no node is ever again told to form one.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn record_members(&self, run: &Run<'_>, state: &mut RecordedState, report: &Report) -> Result<bool, Failure> {
        let Some(etcd) = &report.etcd else { return Ok(false) };
        let known = matches!(self, Self::K3s).then_some(&etcd.known);
        if !state.etcd.bootstrapped && etcd.has_quorum() {
            *state = run.record_bootstrap(known)?;
            return Ok(self.takes_another_pass(run, report));
        }
        if let (true, Some(known)) = (state.etcd.bootstrapped, known) {
            run.record_servers(known)?;
        }
        Ok(false)
    }

    /// True if the systems that say that a cluster exists are built and deployed right after its first quorum. They change a file
    /// in /etc and restart nothing.
    fn takes_another_pass(&self, run: &Run<'_>, report: &Report) -> bool {
        // Servers of k3s join one by one: if one failed, the rest is for the next deploy.
        let is_partial = matches!(self, Self::K3s) && verdict(report).is_some();
        if report.interrupted || report.lost.is_some() || is_partial {
            return false;
        }
        if run.building.is_given() {
            let now = "etcd has formed its quorum; recorded in state/cluster.json. The systems that were given still say \
                       that the cluster is new: build them again from the directory as it is now, and deploy those";
            run.context.events.warn(now);
            return false;
        }
        let text = "etcd has formed its quorum; recorded in state/cluster.json, bringing that to the members";
        run.context.events.progress(text);
        true
    }

    /// Finishes a deploy with this report. Returns false if an object was left out because of an error.
    ///
    /// # Errors
    /// A record cannot be written, or etcd refuses the permissions of a mesh.
    pub fn finish(
        &self,
        run: &Run<'_>,
        state: &RecordedState,
        report: &Report,
        begun: Instant,
    ) -> Result<bool, Failure> {
        run.record_running(report)?;
        locks::record_machines(&run.context.project, run.locks, report)?;
        let objects_applied = match self {
            Self::Kubernetes(Some(desired)) => objects::after_deploy(run, report, desired),
            Self::Kubernetes(None) | Self::Machines | Self::K3s | Self::Mesh => true,
        };
        run.report(report, begun.elapsed());
        if matches!(self, Self::Mesh) {
            mesh::after_deploy(run, state, report)?;
        }
        Ok(objects_applied)
    }
}

/// Returns the report of two passes. A node that the second one left alone has the outcome of the first.
pub fn both(first: Report, second: Report) -> Report {
    let mut report = second;
    report.rebooted.extend(first.rebooted);
    for (node, outcome) in first.nodes {
        let now = report.nodes.entry(node).or_insert_with(|| outcome.clone());
        if *now == Outcome::Unchanged {
            *now = outcome;
        }
    }
    report
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;
    use machinist_rollout::deploy::{Outcome, Report};

    use super::both;

    fn report(nodes: &[(&str, Outcome)], rebooted: &[&str]) -> Report {
        let name = |text: &str| NodeName::parse(text).unwrap();
        Report {
            nodes: nodes.iter().map(|(node, outcome)| (name(node), outcome.clone())).collect(),
            rebooted: rebooted.iter().map(|node| name(node)).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn what_the_second_pass_leaves_alone_has_the_outcome_of_the_first() {
        let failed = Outcome::Refused { why: "locked".to_owned() };
        let first = report(&[("a", Outcome::Changed), ("b", Outcome::Changed), ("c", failed.clone())], &["a"]);
        let second = report(&[("a", Outcome::Unchanged), ("b", failed.clone())], &["b"]);
        let both = both(first, second);
        let expect = report(&[("a", Outcome::Changed), ("b", failed.clone()), ("c", failed)], &["a", "b"]);
        assert_eq!((both.nodes, both.rebooted), (expect.nodes, expect.rebooted));
    }
}
