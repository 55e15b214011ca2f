//! End of a deploy: updates of the record, and the orchestrator's follow-up once the machines have changed.

use std::time::Instant;

use machinist_kubernetes::desired::Desired;
use machinist_model::{Cluster, Orchestrator, RecordedState};
use machinist_rollout::deploy::{Outcome, Report};

use super::{run::Run, verdict::verdict};
use crate::{failure::Failure, kubernetes::objects, locks, mesh, project::Project};

/// Follow-up of a deploy, by orchestrator.
pub enum End {
    /// Machines with or without etcd: only the record is updated.
    Machines,
    /// Kubernetes objects are applied. `None` leaves them unchanged.
    Kubernetes(Option<Desired>),
    /// Servers of k3s that have joined are recorded as members of etcd.
    K3s,
    /// Permissions in etcd that no node needs any longer are revoked.
    Mesh,
}

impl End {
    /// Returns the follow-up of a deploy of this cluster. Manifests are read at this point, before any change.
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

    /// Records the members of etcd after a pass: all of them with the first quorum, and servers of k3s as they join.
    /// Returns true if the nodes need another pass: their systems are still configured to bootstrap a new cluster,
    /// which must not happen again.
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

    /// Returns true if the systems for an existing cluster are built and deployed right after its first quorum. They
    /// change a file in /etc and restart nothing.
    fn takes_another_pass(&self, run: &Run<'_>, report: &Report) -> bool {
        // Servers of k3s join one by one: after a failure, the remaining ones are left to the next deploy.
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
        locks::record_machines(&run.context.project, run.cluster, run.locks, report)?;
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

/// Returns the combined report of two passes. A node that the second pass skipped has the outcome of the first.
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
mod tests;
